/** The web SDK of Milepost, as `window.pe` and `window.milepost`. */
export interface Options {
  /** Where the server is; by default where the script came from. */
  url?: string;
  /** Send a pageView when the page is loaded; true by default. */
  pageViews?: boolean;
}

/** One way to name a person. */
export type Match = { email: string } | { phone: string } | { externalId: string } | { pushRegId: string };

export type Value = string | number | boolean | null;
export type Properties = Record<string, Value | Array<Record<string, Value>>>;

export interface Stored {
  eventId: string;
  /** `disabled`: the definition takes no events; enable it first. */
  verdict: "stored" | "duplicate" | "disabled";
}

/** What a page may say of a lead. */
export interface Person {
  firstName?: string;
  lastName?: string;
  [attribute: string]: Value | string[] | Record<string, unknown> | undefined;
  customAttributes?: Record<string, Value>;
}

export interface Changed {
  status: "UPDATED" | "NOT_MODIFIED";
}

export interface Milepost {
  /** Call it once, with a key of the scope web. */
  init(key: string, options?: Options): void;
  /** Who the visitor is, for `ttl` seconds (1800) after the last event. */
  setPerson(match: Match, ttl?: number): Promise<void>;
  /** Resolves when the event is stored; rejects when it does not fit its definition. */
  track(definitionId: string, properties?: Properties): Promise<Stored>;
  /** Changes the person that setPerson has named; only leads may be changed by a page. */
  updatePerson(person: Person): Promise<Changed>;
  /** Adds an item, or several, to a custom attribute that is a list. */
  appendToList(name: string, item: Record<string, Value> | Array<Record<string, Value>>): Promise<Changed>;
  /** Ends the session; the next event is that of a new, unknown visitor. */
  forgetPerson(): Promise<void>;
}

declare global {
  interface Window {
    pe: Milepost;
    milepost: Milepost;
  }
}
