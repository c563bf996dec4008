output "klive" {
  description = "Addresses, and what to enter at Kaltura."
  value = {
    publish = module.klive.publish
    play    = module.klive.play
    kaltura = module.klive.kaltura
    names   = module.klive.names
  }
}
