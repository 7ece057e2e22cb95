/** What gradio hands to the script of a gr.HTML component, and so to each module's `mount`. */
export interface Component {
  element: HTMLElement;
  props: Record<string, any>;
  server: Record<string, (...given: any[]) => Promise<any>>;
  trigger(event: string, data?: object): void;
  watch(names: string | string[], changed: () => void): void;
  upload(file: File): Promise<{ path: string; url: string }>;
}

/** A plotly figure, as Python's dicts have it. */
export interface Figure {
  data: any[];
  layout: Record<string, any>;
}

/** What a tab's Python sends in an update. */
export interface Update {
  run?: string;
  state?: string;
  say?: string;
  [part: string]: any;
}

declare global {
  interface Window {
    Plotly: any;
  }
}
