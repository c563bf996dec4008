import { useEffect, useRef, useState } from 'preact/hooks';
import { getEntries, getNodes, getServer, getStreams, type Entry, type Node, type Server, type Stream } from './api';
import { Addresses } from './addresses';
import { pick } from './choice';
import { EntryTable, NodeTable } from './cluster';
import { Empty } from './empty';
import { ManageEntries } from './entries';
import { bitrate } from './format';
import { Player } from './player';
import { PublishHere } from './publish';
import { RecordingSection } from './recordings';
import { StreamTable } from './streams';
import { ThemeButton } from './theme';

const pollEvery = 2000;

interface Facts {
  streams: Stream[];
  at: number; // when they came
}

export function App() {
  const [facts, setFacts] = useState<Facts | null>(null);
  const [entries, setEntries] = useState<Entry[]>([]);
  const [managed, setManaged] = useState(false);
  const [nodes, setNodes] = useState<Node[]>([]);
  const [server, setServer] = useState<Server | null>(null);
  const [trouble, setTrouble] = useState('');
  const [chosen, setChosen] = useState(location.hash.slice(1));
  const [entryChosen, chooseEntry] = useState('');
  const [publishTo, publish] = useState(''); // the entry that this browser is to publish to
  const now = useClock();

  useEffect(() => poll(async () => {
    try {
      const [streams, list, processes] = await Promise.all([getStreams(), getEntries(), getNodes()]);
      setFacts({ streams, at: performance.now() });
      setEntries(list.entries);
      setManaged(list.managed);
      setNodes(processes);
      setTrouble('');
    } catch (e) {
      setTrouble(e instanceof TypeError || (e as Error).name === 'TimeoutError' ? 'klive does not answer; trying again.' : (e as Error).message);
    }
  }), []);
  useEffect(() => {
    if (facts && !server) getServer().then(setServer, () => undefined);
  }, [facts, server]);

  const choose = (feed: string) => {
    setChosen(feed);
    history.replaceState(null, '', `#${feed}`);
  };
  const streams = facts?.streams ?? [];
  const shown = useRef('');
  const stream = pick(streams, chosen, shown.current);
  shown.current = stream?.feed ?? '';
  const publishable = entries.filter((e) => e.key);
  const byBrowser = entries.filter((e) => e.whip);
  const onAir = entries.filter((e) => e.live);
  const age = facts ? Math.max(0, (now - facts.at) / 1000) : 0;

  return (
    <>
      <Header streams={streams} version={server?.version} />
      <main>
        {trouble && <p class="banner" role="alert">{trouble}</p>}
        {!facts && !trouble && <p class="muted loading">Loading…</p>}
        {facts && !stream && (
          <Empty entries={publishable} chosen={publishable.find((e) => e.id === entryChosen) ?? publishable[0]} choose={chooseEntry} publish={publish} />
        )}
        {stream && (
          <>
            <section class="card list" aria-label="Live streams">
              <StreamTable streams={streams} chosen={stream.feed} age={age} choose={choose} />
            </section>
            <div class="detail">
              <Player stream={stream} />
              <Addresses stream={stream} entry={entries.find((e) => e.id === stream.entry)} />
            </div>
          </>
        )}
        {facts && (server?.whip || byBrowser.length > 0) && (
          <PublishHere entries={byBrowser} whip={server?.whip ?? ''} asked={publishTo} ask={publish} />
        )}
        {facts && managed && (
          <ManageEntries entries={publishable} publish={publish} changed={() => getEntries().then((list) => setEntries(list.entries), () => undefined)} />
        )}
        {facts && <RecordingSection />}
        {facts && (nodes.length > 1 || onAir.length > 0) && (
          <section class="card list" aria-label="On the air, and nodes">
            {onAir.length > 0 && <EntryTable entries={onAir} />}
            {nodes.length > 1 && <NodeTable nodes={nodes} />}
          </section>
        )}
      </main>
    </>
  );
}

function Header({ streams, version }: { streams: Stream[]; version?: string }) {
  const live = streams.filter((s) => s.state === 'live').length;
  useEffect(() => {
    document.title = live > 0 ? `${live} live · klive` : 'klive console';
  }, [live]);
  const incoming = streams.reduce((sum, s) => sum + (s.state === 'gone' || s.state === 'silent' ? 0 : s.bitrate), 0);
  return (
    <header>
      <a class="brand" href="/"><img src="/icon.svg" alt="" width="26" height="26" />klive</a>
      <p class="summary" aria-live="polite">
        <strong>{live}</strong> live
        {streams.length > 0 && <span class="incoming"><strong>{bitrate(incoming)}</strong> in</span>}
      </p>
      <nav>
        <a href="/metrics">Metrics</a>
        <a href="/v1/streams">API</a>
        {version && <span class="muted version">{version}</span>}
        <ThemeButton />
      </nav>
    </header>
  );
}

/** Milliseconds on the page's clock, anew each second. */
function useClock(): number {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(performance.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  return now;
}

/** Runs job now and then again and again, one at a time, while the page is in sight. */
function poll(job: () => Promise<void>): () => void {
  let stopped = false;
  let timer = 0;
  const round = async () => {
    if (!document.hidden) await job();
    if (!stopped) timer = window.setTimeout(round, pollEvery);
  };
  void round();
  return () => {
    stopped = true;
    window.clearTimeout(timer);
  };
}
