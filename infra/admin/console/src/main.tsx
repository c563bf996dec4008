import { render } from 'preact';
import { App } from './app';
import { applyStoredTheme } from './theme';

applyStoredTheme();
render(<App />, document.getElementById('app')!);
