#!/bin/sh
# ffmpeg.sh ROOT: builds ffmpeg from Debian's source package with what klive runs and nothing else,
# and puts it with the libraries that it needs into ROOT. Debian's own has 500 MB of libraries
# behind it, for screens, sound cards and speech. Runs in a Debian image, as root.
set -eu
root=$1

# The codecs are those that klive takes in and makes, the rest what its commands name: the ladder
# (workers/transcode), thumbnails (storage/origin) and joined recordings (infra/kaltura/controlplane).
# It reads what strangers send, so it has no network; klive publish is no work of a worker.
decoders=h264,hevc,libdav1d,vp8,vp9,aac,aac_latm,mp3,mp3float,ac3,eac3,opus,mjpeg,rawvideo,wrapped_avframe,pcm_s16le,pcm_f32le
encoders=libx264,h264_nvenc,aac,mjpeg,rawvideo,wrapped_avframe,pcm_s16le
parsers=h264,hevc,av1,vp8,vp9,aac,aac_latm,mpegaudio,ac3,opus,mjpeg
demuxers=mov,mpegts,flv,hls,concat,aac,mp3,h264,hevc,wav,rawvideo,image2,mjpeg
muxers=mp4,mov,mpegts,flv,mjpeg,image2,null,rawvideo,wav,framecrc,framemd5
bsfs=h264_mp4toannexb,hevc_mp4toannexb,aac_adtstoasc,extract_extradata,h264_metadata,hevc_metadata,av1_metadata,setts,null
filters=select,aselect,split,asplit,scale,pad,crop,setsar,setdar,format,aformat,aresample,apad,atrim,trim,setpts,asetpts,fps,yadif,bwdif
filters=$filters,transpose,hflip,vflip,rotate,null,anull,setparams,channelmap,pan,volume,amix,amerge,concat,overlay
filters=$filters,testsrc,testsrc2,color,nullsrc,sine,anullsrc,aevalsrc,drawbox,ssim,psnr,astats,ashowinfo,showinfo,silencedetect

export DEBIAN_FRONTEND=noninteractive
[ ! -e /etc/apt/sources.list ] || sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
[ ! -e /etc/apt/sources.list.d/debian.sources ] || sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >/etc/apt/sources.list.d/source.sources
apt-get update -q
apt-get install -q -y --no-install-recommends gcc libc6-dev make nasm pkg-config dpkg-dev xz-utils libx264-dev libdav1d-dev libffmpeg-nvenc-dev busybox-static
mkdir -p /usr/src/ffmpeg
cd /usr/src/ffmpeg
apt-get source -q ffmpeg
cd ffmpeg-*/

./configure --prefix=/usr --disable-everything --disable-autodetect --disable-doc --disable-debug --disable-network \
  --disable-ffplay --disable-ffprobe --enable-gpl --enable-pthreads --enable-libx264 --enable-libdav1d --enable-ffnvcodec --enable-nvenc \
  --enable-decoder=$decoders --enable-encoder=$encoders --enable-parser=$parsers --enable-demuxer=$demuxers --enable-muxer=$muxers \
  --enable-bsf=$bsfs --enable-filter=$filters --enable-indev=lavfi --enable-protocol=pipe,file,concat,data || { tail -n 30 ffbuild/config.log; exit 1; }
make -j"$(nproc)" ffmpeg

install -D -s ffmpeg "$root/usr/bin/ffmpeg"
# What it is linked to, and the loader.
for lib in $(ldd ffmpeg | sed -n 's/.* => \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p'); do
  install -D "$(readlink -f "$lib")" "$root$lib"
done
# A shell and mkdir, for what runs before klive: a file out of a secret, a folder.
install -D /bin/busybox "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
ln -s busybox "$root/bin/mkdir"
# Whose work it is, as their licences ask.
for package in ffmpeg libx264-dev libdav1d-dev libc6-dev busybox-static; do
  dir=/usr/share/doc/$package
  [ "$package" != ffmpeg ] || dir=$PWD/debian
  install -D -m 644 "$dir/copyright" "$root/usr/share/doc/$package/copyright"
done
