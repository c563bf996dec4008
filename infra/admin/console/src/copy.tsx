import { useEffect, useState } from 'preact/hooks';

/** One address with a button that copies it. */
export function Copyable({ label, text, hint }: { label: string; text: string; hint?: string }) {
  const [copied, setCopied] = useState<'' | 'yes' | 'no'>('');
  useEffect(() => {
    if (!copied) return;
    const timer = window.setTimeout(() => setCopied(''), 1800);
    return () => window.clearTimeout(timer);
  }, [copied]);
  return (
    <div class="copyable">
      <div class="copyable-label">
        {label}
        {hint && <span class="muted"> {hint}</span>}
      </div>
      <div class="copyable-row">
        <code tabIndex={0} aria-label={label}>{breakable(text)}</code>
        <button type="button" class="copy" aria-label={`Copy ${label}`} onClick={async () => setCopied((await copy(text)) ? 'yes' : 'no')}>
          {copied === 'yes' ? 'Copied' : copied === 'no' ? 'Select it' : 'Copy'}
        </button>
      </div>
      <span class="sr-only" role="status">{copied === 'yes' ? `${label} copied` : ''}</span>
    </div>
  );
}

/** The text with places where an address may be broken into lines. */
function breakable(text: string) {
  return text.split(/(?<=[/?&])/).flatMap((piece, i) => (i === 0 ? [piece] : [<wbr key={i} />, piece]));
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyWithSelection(text); // no clipboard API outside https and localhost
  }
}

function copyWithSelection(text: string): boolean {
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'sr-only';
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}
