import type { Entry, Health, Node } from './api';
import { bytes, milliseconds } from './format';

const healthText: Record<Health, string> = {
  starting: 'Starting',
  live: 'Live',
  waiting: 'Waiting',
  held: 'Store away',
  behind: 'Behind',
  gaps: 'Gaps',
  orphan: 'No owner',
  damaged: 'Damaged',
  unknown: 'Unknown',
};

/** Who owns what is on the air, one row an entry. */
export function EntryTable({ entries }: { entries: Entry[] }) {
  return (
    <table class="plain owners">
      <caption>On the air</caption>
      <thead>
        <tr>
          <th scope="col">State</th>
          <th scope="col">Entry</th>
          <th scope="col">Owner</th>
          <th scope="col" class="num">Epoch</th>
          <th scope="col">Feeds</th>
          <th scope="col" class="num">Segment</th>
          <th scope="col" class="num">Lag</th>
          <th scope="col" class="num">Pending</th>
        </tr>
      </thead>
      <tbody>
        {entries.map(({ id, name, live }) => live && (
          <tr key={id}>
            <td><span class={`state health-${live.health}`} title={live.text}>{healthText[live.health]}</span></td>
            <td>{id}{name && <small class="muted"> {name}</small>}</td>
            <td>{live.owner || '–'}{live.movingTo && <small class="muted"> → {live.movingTo}</small>}</td>
            <td class="num">{live.epoch ?? '–'}</td>
            <td>{live.feeds.map((f) => f.slice(id.length + 1)).join(', ') || '–'}</td>
            <td class="num">{live.lastSeq ?? '–'}</td>
            <td class="num">{live.lastSeq ? `${live.lag.toFixed(1)} s` : '–'}</td>
            <td class="num">{live.pending}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The processes of the deployment, one row each. */
export function NodeTable({ nodes }: { nodes: Node[] }) {
  return (
    <table class="plain nodes">
      <caption>Nodes</caption>
      <thead>
        <tr>
          <th scope="col">State</th>
          <th scope="col">Node</th>
          <th scope="col">Roles</th>
          <th scope="col">Version</th>
          <th scope="col" class="num">Entries</th>
          <th scope="col" class="num">Feeds</th>
          <th scope="col" class="num">Spool</th>
          <th scope="col" class="num">Bus</th>
        </tr>
      </thead>
      <tbody>
        {nodes.map((n) => (
          <tr key={n.name}>
            <td><span class={`state ${n.ready ? 'health-ready' : 'health-away'}`}>{n.draining ? 'Draining' : n.ready ? 'Ready' : 'Not ready'}</span>{n.why && <small class="reason"> {n.why}</small>}</td>
            <td>{n.name}{n.address && <small class="muted"> {n.address}</small>}</td>
            <td>{n.roles.join(', ')}{n.transcodeAway && <small class="reason"> takes no transcode jobs: {n.transcodeAway}</small>}</td>
            <td>{n.version}</td>
            <td class="num">{n.owned}</td>
            <td class="num">{n.feeds}</td>
            <td class="num">{bytes(n.spoolBytes)}</td>
            <td class="num">{milliseconds(n.busRtt)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
