// The script of all pages. A page is made by the server and stands without it; this keeps it fresh,
// asks the REST API for what is to be done, and answers to keys. It makes no HTML of what it hears.
// Types are checked (`make script`), and nothing here needs eval or an inline handler.

const root = document.documentElement.dataset.root ?? "/";

/** @template {Element} [T=HTMLElement] @param {string} selector @param {ParentNode} [from] */
const one = (selector, from = document) => /** @type {T | null} */ (from.querySelector(selector));
/** @template {Element} [T=HTMLElement] @param {string} selector @param {ParentNode} [from] */
const all = (selector, from = document) => /** @type {T[]} */ ([...from.querySelectorAll(selector)]);
/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// --- words: the same as in words.py

/** @param {number} n */
const two = (n) => String(n).padStart(2, "0");

/** @param {number} seconds */
export function took(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** @param {Date} at */
const clock = (at) => at.toLocaleTimeString(undefined, { hour12: false });

/** Show moments as the clock on the wall does, and let go on what goes on. */
function tick() {
  for (const time of all("time[data-since]")) {
    const text = took((Date.now() - skew - Date.parse(time.getAttribute("datetime") ?? "")) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

function clocks() {
  const today = new Date().toDateString();
  for (const time of all("time[data-clock]")) {
    const at = new Date(time.getAttribute("datetime") ?? "");
    time.textContent = at.toDateString() === today ? clock(at) : `${at.toLocaleDateString()} ${clock(at)}`;
    time.title = at.toString();
  }
}

/** By how much this clock is before the server's, in ms. */
let skew = 0;

// --- asking the API

/** @typedef {{pointer?: string | null, name?: string | null, detail: string}} Wrong */
/** @typedef {{title?: string, detail?: string | null, errors?: Wrong[]}} Problem */

/** What the API says when it does not do as it is asked. */
class Refused extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail || problem.title || "It did not work.");
    this.problem = problem;
  }
}

/** The last state that was written: what is read next is that or a later one. @type {string | null} */
let written = null;

/**
 * @param {string} method @param {string} path @param {unknown} [body]
 * @returns {Promise<Response>}
 */
async function ask(method, path, body) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (written) headers["LongTask-Version"] = written;
  let response;
  try {
    response = await fetch(root + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  } catch {
    throw new Refused({ detail: "LongTask does not answer." });
  }
  if (response.status === 401) toLogin();
  if (!response.ok) {
    const problem = await response.json().catch(() => ({ title: response.statusText }));
    throw new Refused(problem);
  }
  written = response.headers.get("LongTask-Version") ?? written;
  return response;
}

/** Whoever has a page open was let in once: their session is over, and is told to be. */
function toLogin() {
  const here = location.pathname + location.search;
  location.assign(`${root}login?over=true&next=${encodeURIComponent(here)}`);
}

/** @param {string} text @param {boolean} [bad] */
function say(text, bad = false) {
  const toast = document.createElement("p");
  toast.className = bad ? "toast bad" : "toast";
  toast.textContent = text;
  one(".toasts")?.append(toast);
  setTimeout(() => toast.remove(), bad ? 10_000 : 4_000);
}

/** @param {unknown} error */
const sayWhy = (error) => {
  const told = error instanceof Refused ? [error.message, ...(error.problem.errors ?? []).map((wrong) => wrong.detail)] : [String(error)];
  say(told.join(" "), true);
};

/** @param {string | undefined} text @returns {Promise<boolean>} */
async function sure(text) {
  const dialog = one("#ask");
  if (!text || !(dialog instanceof HTMLDialogElement)) return true;
  const says = one("#ask-says");
  if (says) says.textContent = text;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

/** @param {HTMLElement} asked @param {Response} response */
async function then(asked, response) {
  const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  switch (asked.dataset.then) {
    case "task":
      location.assign(`${root}tasks/${encodeURIComponent(answer.id)}`);
      return;
    case "tasks":
      location.assign(root);
      return;
    case "password":
      secret(asked.closest("td") ?? asked, "The new password, shown this once:", answer.password);
      return;
    case "secret": {
      const out = one("[data-secret-out]", asked);
      const text = (asked.dataset.secretBefore ?? "") + answer[asked.dataset.secret ?? ""];
      if (out) secret(out, asked.dataset.secretSays ?? "", text);
      asked.dataset.kept = "";
      await refresh();
      return;
    }
    case "told":
      say(asked.dataset.says ?? "Done.");
      if (asked instanceof HTMLFormElement && !("keeps" in asked.dataset)) asked.reset();
      return;
    default:
      if (asked.dataset.then?.startsWith("to ")) location.assign(root + asked.dataset.then.slice(3));
      else await refresh();
  }
}

/** @param {Element} where @param {string} says @param {string} text */
function secret(where, says, text) {
  const code = document.createElement("code");
  code.textContent = text;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "link";
  copy.dataset.copy = text;
  copy.textContent = "copy";
  const line = document.createElement("span");
  line.append(code, " ", copy);
  where.replaceChildren(says, " ", line);
  if (where instanceof HTMLElement) {
    where.hidden = false;
    where.dataset.kept = "";
  }
}

/** @param {HTMLElement} asked @param {unknown} [body] */
async function perform(asked, body) {
  const [method = "GET", path = ""] = (asked.dataset.call ?? "").split(" ");
  asked.setAttribute("aria-busy", "true");
  try {
    if ("inQuery" in asked.dataset) {
      const query = new URLSearchParams(/** @type {Record<string, string>} */ (body));
      await then(asked, await ask(method, `${path}?${query}`));
    } else await then(asked, await ask(method, path, body));
  } finally {
    asked.removeAttribute("aria-busy");
  }
}

// --- forms: each field is named by the JSON Pointer of its value

/** @param {Record<string, any>} document_ @param {string} pointer @param {unknown} value */
function put(document_, pointer, value) {
  const parts = pointer.slice(1).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = /** @type {string} */ (parts.pop());
  let at = document_;
  for (const part of parts) {
    if (!Object.hasOwn(at, part)) Object.defineProperty(at, part, { value: {}, enumerable: true, configurable: true, writable: true });
    at = at[part];
  }
  Object.defineProperty(at, last, { value, enumerable: true, configurable: true, writable: true });
}

/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Field */

/** @param {Element} form @returns {Record<string, any>} */
function collected(form) {
  /** @type {Record<string, any>} */
  const found = {};
  for (const field of all("[data-pointer]", form)) {
    const pointer = field.dataset.pointer ?? "";
    if (field.dataset.kind === "marked") {
      put(found, pointer, all("input:checked", field).map((box) => /** @type {HTMLInputElement} */ (box).value));
      continue;
    }
    const text = /** @type {Field} */ (field).value;
    if (text === "") continue;
    switch (field.dataset.kind) {
      case "int":
      case "number":
        put(found, pointer, Number.isFinite(Number(text)) ? Number(text) : text);
        break;
      case "json":
        try {
          put(found, pointer, JSON.parse(text));
        } catch (error) {
          throw new Refused({ errors: [{ pointer, detail: `no JSON: ${/** @type {Error} */ (error).message}` }] });
        }
        break;
      default:
        put(found, pointer, field instanceof HTMLInputElement && field.type === "datetime-local" ? new Date(text).toISOString() : text);
    }
  }
  return found;
}

/** @param {Element} form */
function unblame(form) {
  for (const wrong of all("[data-wrong]", form)) wrong.textContent = "";
  for (const field of all("[aria-invalid]", form)) field.removeAttribute("aria-invalid");
  const rest = one("[data-problem]", form);
  if (rest) rest.hidden = true;
}

/** Show what is wrong where it is wrong. @param {Element} form @param {unknown} error */
function blame(form, error) {
  if (!(error instanceof Refused)) throw error;
  const rest = [];
  let first = null;
  for (const wrong of error.problem.errors ?? []) {
    const pointer = wrong.pointer ?? (wrong.name ? `/${wrong.name}` : "");
    const field = all("[data-pointer]", form)
      .filter((one_) => pointer === one_.dataset.pointer || pointer.startsWith(`${one_.dataset.pointer}/`))
      .toSorted((a, b) => (b.dataset.pointer ?? "").length - (a.dataset.pointer ?? "").length)[0];
    const place = field && one("[data-wrong]", field.closest(".field, fieldset.row, form") ?? form);
    if (!field || !place || field.offsetParent === null) {
      rest.push([pointer || wrong.name, wrong.detail].filter(Boolean).join(": "));
      continue;
    }
    place.textContent = `${pointer === field.dataset.pointer ? "" : `${pointer}: `}${wrong.detail}`;
    field.setAttribute("aria-invalid", "true");
    field.closest("details")?.setAttribute("open", "");
    first ??= field;
  }
  if (rest.length === 0 && !first) rest.push(error.message);
  const told = one("[data-problem]", form);
  if (rest.length > 0 && told) {
    told.textContent = rest.join(" · ");
    told.hidden = false;
  } else if (rest.length > 0) say(rest.join(" · "), true);
  first?.focus();
}

/** @param {HTMLFormElement} form */
async function send(form) {
  unblame(form);
  try {
    if ((form.dataset.call ?? "").startsWith("GET")) await perform(form);
    else await perform(form, collected(form));
  } catch (error) {
    blame(form, error);
  }
}

// --- a new task

/** @param {HTMLFormElement} form */
function newTask(form) {
  const text = /** @type {HTMLTextAreaElement | null} */ (one("[data-text]", form));
  const isText = () => one("#as-form", form)?.hidden ?? true;
  const order = async () => {
    if (!isText()) return collected(/** @type {Element} */ (one("#as-form", form)));
    return (await ask("POST", `${form.dataset.page}/order`, { text: text?.value ?? "" })).json();
  };
  const show = async () => {
    try {
      const answer = await ask("POST", `${form.dataset.page}/calls`, await order());
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const old = one("#calls");
      const made = one("#calls", fresh);
      if (old && made) morph(old, made);
    } catch {
      // It is not whole yet; what was shown before stays.
    }
  };
  let due = 0;
  form.addEventListener("input", () => {
    clearTimeout(due);
    due = window.setTimeout(show, 300);
  });
  one("[data-type]", form)?.addEventListener("change", (event) => {
    location.assign(`${root}${form.dataset.page}?type=${encodeURIComponent(/** @type {HTMLSelectElement} */ (event.target).value)}`);
  });
  const tabs = all("[data-tab]", form);
  for (const tab of tabs) {
    tab.addEventListener("click", async () => {
      if (tab.id === "tab-text" && !isText() && text) {
        await show();
        text.value = one("#calls")?.dataset.yaml ?? text.value;
      }
      for (const other of tabs) {
        other.setAttribute("aria-selected", String(other === tab));
        const panel = one(`#${other.getAttribute("aria-controls")}`, form);
        if (panel) panel.hidden = other !== tab;
      }
      unblame(form);
    });
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    unblame(form);
    const [method = "POST", path = ""] = (form.dataset.order ?? "").split(" ");
    try {
      const kept = /** @type {HTMLInputElement | null} */ (one("[data-from-failed]", form));
      const made = await (await ask(method, kept?.checked ? `${path}?fromFailed=true` : path, await order())).json();
      location.assign(`${root}${form.dataset.made}/${encodeURIComponent(made.id ?? made.name)}`);
    } catch (error) {
      blame(form, error);
    }
  });
}

// --- fresh parts of a page

/**
 * Make a part of the page like a fresh one, and leave alone what is the same in both: what is
 * focused, marked, unfolded or scrolled stays so.
 * @param {Node} old @param {Node} fresh
 */
function morph(old, fresh) {
  if (!(old instanceof Element) || !(fresh instanceof Element)) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old instanceof HTMLElement && "kept" in old.dataset) return;
  for (const { name, value } of fresh.attributes) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of old.getAttributeNames()) {
    if (name !== "open" && name !== "aria-busy" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  // What somebody writes is theirs, and so is which of them they have chosen.
  if (old instanceof HTMLInputElement || old instanceof HTMLTextAreaElement) return;
  if (old instanceof HTMLSelectElement && old === document.activeElement) return;
  const byId = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const child of fresh.childNodes) {
    const named = child instanceof Element && child.id ? byId.get(child.id) : undefined;
    const match = named ?? (at && isAlike(at, child) ? at : undefined);
    if (!match) {
      old.insertBefore(document.importNode(child, true), at);
    } else {
      if (match !== at) old.insertBefore(match, at);
      else at = at.nextSibling;
      morph(match, child);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** @param {Node} a @param {Node} b */
const isAlike = (a, b) =>
  a.nodeType === b.nodeType && a.nodeName === b.nodeName && (!(a instanceof Element) || !(b instanceof Element) || a.id === b.id);

/** Ask for this page again, and take over what is fresh. */
async function refresh() {
  heard.clear();
  const stage = one("[data-stream]");
  const url = new URL(location.href);
  url.hash = "";
  for (const [key, value] of new URLSearchParams(stage?.dataset.liveQuery ?? "")) url.searchParams.set(key, value);
  const response = await fetch(url, { headers: { Accept: "text/html", ...(written ? { "LongTask-Version": written } : {}) } });
  if (response.redirected && new URL(response.url).pathname === `${root}login`) return toLogin();
  if (response.status === 404) return state("lost", "It is no longer there.");
  if (!response.ok) throw new Error(String(response.status));
  takeOver(await response.text(), Date.parse(response.headers.get("Date") ?? ""));
}

/** Let rows glide to where they will be: who reads one keeps it in sight. Returns what begins it. */
function rowsMoving() {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return () => undefined;
  const before = new Map(all("[data-row][id]").map((row) => [row, row.offsetTop]));
  return () => {
    const moved = [...before].map(([row, top]) => /** @type {const} */ ([row, top - row.offsetTop]));
    for (const [row, by] of moved) {
      if (by !== 0 && row.isConnected) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 200, easing: "ease-out" });
    }
  };
}

/** Make this page like a fresh one. @param {string} text @param {number} sent when it was so */
function takeOver(text, sent) {
  const stage = one("[data-stream]");
  if (Number.isFinite(sent) && Math.abs(Date.now() - sent) > 3_000) skew = Date.now() - sent;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const parts = stage ? "[data-live]" : "main";
  const settle = rowsMoving();
  for (const part of all(parts)) {
    const made = fresh.getElementById(part.id);
    if (made) morph(part, made);
    else part.remove();
  }
  // A task that has its first attempt now, for one.
  for (const part of all(parts, fresh)) if (!document.getElementById(part.id)) insert(part);
  settle();
  // The page may be as it was before what was heard while it came.
  for (const told of heard.values()) progress(told);
  clocks();
  tick();
  marked();
  document.dispatchEvent(new Event("fresh"));
}

/** Put a part where the fresh page has it: beside the same neighbour. @param {Element} part */
function insert(part) {
  const before = document.getElementById(part.previousElementSibling?.id ?? "");
  const after = document.getElementById(part.nextElementSibling?.id ?? "");
  if (before) before.after(document.importNode(part, true));
  else after?.before(document.importNode(part, true));
}

/** @param {"on" | "lost" | ""} how @param {string} text */
function state(how, text) {
  const place = one("[data-state]");
  if (!place) return;
  place.className = `live ${how}`.trim();
  if (place.textContent !== text) place.textContent = text;
}

/** Keep the page fresh by one stream. @param {HTMLElement} stage */
function live(stage) {
  let isDue = false;
  let isBusy = false;
  let cost = 0;
  // Some pages are sent as soon as they change, made once for all who have them open.
  const isPushed = "pushed" in stage.dataset;
  const soon = () => {
    if (isPushed) return;
    isDue = true;
    void work();
  };
  const work = async () => {
    if (isBusy || document.hidden) return;
    isBusy = true;
    while (isDue && !document.hidden) {
      isDue = false;
      const begun = performance.now();
      await refresh().catch(() => undefined);
      cost = performance.now() - begun;
      // A page that takes long is asked for less often.
      await pause(Math.max(1_000, 10 * cost));
    }
    isBusy = false;
  };
  document.addEventListener("visibilitychange", work);
  // What no event tells of, places and estimates, moves all the same.
  setInterval(soon, 15_000);
  if ("over" in stage.dataset) {
    state("", "it is over");
    return;
  }
  const url = new URL(root + stage.dataset.stream, location.href);
  for (const [key, value] of Object.entries(JSON.parse(stage.dataset.query ?? "{}"))) url.searchParams.append(key, value);
  let lostAt = "";
  const lost = () => {
    lostAt ||= clock(new Date());
    state("lost", `lost at ${lostAt}: what follows is older; it goes on by itself`);
  };
  /** @type {EventSource | null} */
  let source = null;
  let isOver = false;
  // A browser has six connections to a host that speaks HTTP/1.1: a page that nobody sees needs none.
  document.addEventListener("visibilitychange", () => {
    if (isOver) return;
    if (document.hidden) {
      source?.close();
      source = null;
      state("", "asleep");
    } else if (source === null) open();
  });
  const open = () => {
    if (document.hidden || source !== null) return;
    const opened = new EventSource(url);
    source = opened;
    opened.addEventListener("open", () => {
      lostAt = "";
      state("on", "live");
      soon();
    });
    opened.addEventListener("error", () => {
      lost();
      if (opened.readyState !== EventSource.CLOSED) return;
      source = null;
      // The server does not want it so any more: perhaps it does not know who asks.
      setTimeout(() => refresh().then(open, () => setTimeout(open, 5_000)), 2_000);
    });
    for (const name of ["status", "event", "deleted", "reset"]) opened.addEventListener(name, soon);
    opened.addEventListener("page", (event) => {
      heard.clear();
      takeOver(event.data, Number(event.lastEventId));
    });
    opened.addEventListener("progress", (event) => progress(JSON.parse(event.data)));
    opened.addEventListener("result", () => {
      opened.close();
      isOver = true;
      state("", "it is over");
      soon();
      // Its callback goes out now.
      setTimeout(soon, 3_000);
    });
  };
  addEventListener("pagehide", () => source?.close());
  open();
}

/** @typedef {{id: string, percent: number | null, message: string | null}} Told */

/** What was said of tasks since the page was asked for last. @type {Map<string, Told>} */
const heard = new Map();

/** @param {Told} told */
function progress(told) {
  heard.set(told.id, told);
  for (const place of all("[data-task]").filter((one_) => one_.dataset.task === told.id)) {
    const bar = /** @type {HTMLProgressElement | null} */ (one("[data-progress]", place));
    const percent = one("[data-percent]", place);
    const note = one("[data-note]", place);
    if (bar && told.percent !== null) bar.value = told.percent;
    if (percent && told.percent !== null) percent.textContent = `${told.percent} %`;
    const words = note && (one("bdi", note) ?? note);
    if (words && told.message && !told.message.includes("\u0000")) words.textContent = told.message;
  }
}

// --- several at once

function marked() {
  const boxes = /** @type {HTMLInputElement[]} */ (all("[data-mark]:checked"));
  const bar = one("[data-bulk]");
  if (!bar) return;
  bar.hidden = boxes.length === 0;
  const number = one("[data-marked]", bar);
  if (number) number.textContent = String(boxes.length);
  for (const button of /** @type {HTMLButtonElement[]} */ (all("[data-many]", bar))) {
    button.disabled = !boxes.some((box) => box.dataset.mark === button.dataset.of);
  }
}

/** @param {HTMLElement} button */
async function many(button) {
  if (!(await sure(button.dataset.ask))) return;
  const boxes = /** @type {HTMLInputElement[]} */ (all("[data-mark]:checked")).filter((box) => box.dataset.mark === button.dataset.of);
  const waiting = [...boxes];
  let failed = 0;
  const work = async () => {
    for (let box = waiting.pop(); box; box = waiting.pop()) {
      try {
        await ask("POST", `api/v1/tasks/${encodeURIComponent(box.value)}${button.dataset.many}`);
        box.checked = false;
      } catch {
        failed += 1;
      }
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  say(failed ? `${boxes.length - failed} done, ${failed} refused.` : `${boxes.length} done.`, failed > 0);
  marked();
  await refresh();
}

// --- the log: a hundred thousand lines, of which those are drawn that are seen

const ROW = 19;
const MOST_LINES = 500_000;
const LONGEST = 20_000;
// eslint-disable-next-line no-control-regex -- what terminals do with colours and cursors is not said here
const TERMINAL = /\u001b\[[0-9;:?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[@-Z\\-_]?/g;
// eslint-disable-next-line no-control-regex -- these are shown, and do nothing
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;
const TURNS = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

/** @param {string} text */
function plain(text) {
  return text
    .replace(TERMINAL, "")
    .replace(/\r$/, "")
    .replace(/\t/g, "    ")
    .replace(CONTROL, (c) => String.fromCharCode(0x2400 + (c === "\u007f" ? 0x21 : c.charCodeAt(0))))
    .replace(TURNS, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase()}⟩`);
}

/** @param {HTMLElement} button */
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

/** @param {HTMLElement} panel */
function log(panel) {
  const pane = /** @type {HTMLElement} */ (one("[data-log-pane]", panel));
  const sheet = /** @type {HTMLElement} */ (one("[data-log-all]", panel));
  const told = /** @type {HTMLElement} */ (one("[data-log-state]", panel));
  const wrapping = /** @type {HTMLElement} */ (one("[data-log-wrap]", panel));
  const following = /** @type {HTMLElement} */ (one("[data-log-end]", panel));
  const finding = /** @type {HTMLInputElement} */ (one("[data-log-find]", panel));
  const found = /** @type {HTMLElement} */ (one("[data-log-hits]", panel));
  // They come once there are several to choose from.
  const runs = () => /** @type {HTMLSelectElement | null} */ (one("[data-log-run]", panel));
  const attempts = () => /** @type {HTMLSelectElement | null} */ (one("[data-log-attempt]", panel));
  const file = /** @type {HTMLAnchorElement} */ (one("[data-log-file]", panel));

  /** @type {{time: string, text: string}[]} */
  let lines = [];
  /** Where each row begins, when lines are wrapped: line, from, to. @type {[number, number, number][] | null} */
  let rows = null;
  let widest = 0;
  let hits = /** @type {number[]} */ ([]);
  let hit = -1;
  let stop = new AbortController();
  let connection = new AbortController();
  /** When the last line was written, and how many were at that time. */
  let last = "";
  let atLast = 0;
  /** The same as it was when the connection broke. */
  let before = "";
  let seen = 0;

  const count = () => (rows ?? lines).length;

  const wide = () => {
    const probe = document.createElement("span");
    probe.textContent = "0".repeat(50);
    probe.className = "probe";
    sheet.append(probe);
    const width = probe.getBoundingClientRect().width / 50 || 7;
    probe.remove();
    return Math.max(20, Math.floor((pane.clientWidth - 24 - 64 - 12) / width));
  };

  const wrapFrom = (/** @type {number} */ first) => {
    if (!rows) return;
    const columns = wide();
    for (let index = first; index < lines.length; index += 1) {
      const { text } = /** @type {{text: string}} */ (lines[index]);
      let from = 0;
      do {
        let to = from;
        for (let cells = 0; to < text.length; ) {
          const point = /** @type {number} */ (text.codePointAt(to));
          const letter = String.fromCodePoint(point);
          cells += WIDE.test(letter) ? 2 : 1;
          if (cells > columns) break;
          to += letter.length;
        }
        to = to === from ? text.length : to;
        rows.push([index, from, to]);
        from = to;
      } while (from < text.length);
    }
  };

  let isDrawing = false;
  const draw = () => {
    if (isDrawing) return;
    isDrawing = true;
    requestAnimationFrame(() => {
      isDrawing = false;
      sheet.style.height = `${count() * ROW + 16}px`;
      sheet.style.width = rows ? "100%" : `${Math.min(widest, LONGEST) + 14}ch`;
      if (isPressed(following)) pane.scrollTop = pane.scrollHeight;
      const first = Math.max(0, Math.floor(pane.scrollTop / ROW) - 20);
      const end = Math.min(count(), Math.ceil((pane.scrollTop + pane.clientHeight) / ROW) + 20);
      const wanted = finding.value.toLowerCase();
      const drawn = document.createDocumentFragment();
      for (let index = first; index < end; index += 1) {
        const [line, from, to] = rows?.[index] ?? [index, 0, LONGEST];
        drawn.append(row(line, from, to, index, wanted));
      }
      sheet.replaceChildren(drawn);
    });
  };

  /** @param {number} line @param {number} from @param {number} to @param {number} index @param {string} wanted */
  const row = (line, from, to, index, wanted) => {
    const { time, text } = /** @type {{time: string, text: string}} */ (lines[line]);
    const made = document.createElement("p");
    made.style.top = `${index * ROW + 8}px`;
    if (line === hits[hit]) made.className = "at";
    const at = document.createElement("time");
    at.textContent = from === 0 ? time : "";
    const said = document.createElement("span");
    const part = text.slice(from, to);
    const lower = wanted ? part.toLowerCase() : "";
    let after = 0;
    for (let here = wanted ? lower.indexOf(wanted) : -1; here >= 0; here = lower.indexOf(wanted, after)) {
      const mark = document.createElement("mark");
      mark.textContent = part.slice(here, here + wanted.length);
      said.append(part.slice(after, here), mark);
      after = here + wanted.length;
    }
    said.append(part.slice(after));
    made.append(at, said);
    return made;
  };

  const look = (/** @type {number} */ first) => {
    const wanted = finding.value.toLowerCase();
    if (first === 0) hits = [];
    if (wanted) {
      for (let index = first; index < lines.length; index += 1) {
        if (/** @type {{text: string}} */ (lines[index]).text.toLowerCase().includes(wanted)) hits.push(index);
      }
    }
    found.textContent = wanted ? `${hits.length ? `${hit + 1} of ` : ""}${hits.length.toLocaleString()}` : "";
  };

  const go = (/** @type {number} */ by) => {
    if (hits.length === 0) return;
    hit = (hit + by + hits.length) % hits.length;
    following.setAttribute("aria-pressed", "false");
    const line = /** @type {number} */ (hits[hit]);
    const index = rows ? rows.findIndex(([of]) => of === line) : line;
    pane.scrollTop = Math.max(0, index * ROW - pane.clientHeight / 2);
    found.textContent = `${hit + 1} of ${hits.length.toLocaleString()}`;
    draw();
  };

  /** Several lines may have been written at once. @param {string} stamp */
  const isKnown = (stamp) => {
    if (!before || stamp > before) {
      before = "";
      return false;
    }
    if (stamp < before) return true;
    seen -= 1;
    return seen >= 0;
  };

  const amount = () => `${lines.length.toLocaleString()} ${lines.length === 1 ? "line" : "lines"}`;

  /** @param {string[]} fresh */
  const add = (fresh) => {
    const first = lines.length;
    for (const raw of fresh) {
      const space = raw.indexOf(" ");
      const stamp = raw.slice(0, space);
      const at = Date.parse(stamp.replace(/(\.\d{3})\d*/, "$1"));
      if (space > 0 && Number.isFinite(at)) {
        if (isKnown(stamp)) continue; // it came before the connection broke
        atLast = stamp === last ? atLast + 1 : 1;
        last = stamp;
        lines.push({ time: clock(new Date(at)), text: plain(raw.slice(space + 1)) });
      } else lines.push({ time: "", text: plain(raw) });
      widest = Math.max(widest, /** @type {{text: string}} */ (lines.at(-1)).text.length);
    }
    if (lines.length > MOST_LINES) {
      lines = lines.slice(-MOST_LINES);
      if (rows) rows = [];
      wrapFrom(0);
      look(0);
    } else {
      wrapFrom(first);
      look(first);
    }
    pane.hidden = false;
    told.textContent = amount();
    draw();
  };

  /** An attempt before the last one, if that is what is shown. */
  const chosenAttempt = () => {
    const one_ = attempts();
    return one_ && one_.selectedIndex > 0 ? one_.value : "";
  };

  const address = () => {
    const url = new URL(root + panel.dataset.log, location.href);
    const run = runs()?.value;
    const attempt = chosenAttempt();
    if (run) url.searchParams.set("step", run);
    else if (attempt) url.searchParams.set("attempt", attempt);
    return url;
  };

  const load = async () => {
    stop.abort();
    stop = new AbortController();
    const { signal } = stop;
    lines = [];
    if (rows) rows = [];
    hits = [];
    hit = -1;
    widest = 0;
    last = before = "";
    atLast = seen = 0;
    pane.hidden = true;
    file.href = address().href;
    told.textContent = "…";
    draw();
    if (one("#lead")?.dataset.attempt?.startsWith("0")) {
      told.textContent = "The program has not started yet.";
      return;
    }
    let lostAt = "";
    let hasEnded = false;
    while (!signal.aborted) {
      const url = address();
      url.searchParams.set("timestamps", "true");
      if (panel.dataset.over !== "yes") url.searchParams.set("follow", "true");
      if (last) url.searchParams.set("since", last.replace(/(\.\d{3})\d*/, "$1"));
      before = last;
      seen = atLast;
      connection = new AbortController();
      try {
        const response = await fetch(url, { signal: AbortSignal.any([signal, connection.signal]) });
        if (response.status === 401) return toLogin();
        if (response.status === 409) {
          told.textContent = "The program has not started yet.";
          await pause(2_000);
          continue;
        }
        // What is between may answer while the API is away.
        if (response.status === 429 || response.status >= 500) throw new Error(String(response.status));
        if (!response.ok || !response.body) {
          const problem = await response.json().catch(() => ({}));
          told.textContent = problem.detail ?? "There is no log.";
          return;
        }
        lostAt = "";
        if (lines.length > 0) told.textContent = amount();
        const known = lines.length;
        await read(response.body, signal);
        if (signal.aborted) return;
        // Whatever is between may end it as well: it is over once there is nothing more to be had.
        if (panel.dataset.over !== "yes" && (!hasEnded || lines.length > known)) {
          hasEnded = true;
          await pause(1_000);
          continue;
        }
        if (lines.length === 0) told.textContent = "The log is empty.";
        else told.textContent += panel.dataset.over === "yes" ? "" : "; this attempt is over";
        return;
      } catch {
        if (signal.aborted) return;
        if (document.hidden) {
          await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
          continue;
        }
        lostAt ||= clock(new Date());
        hasEnded = false;
        told.textContent = `lost at ${lostAt}; it goes on by itself`;
        await pause(2_000);
      }
    }
  };

  /** @param {ReadableStream<Uint8Array>} body @param {AbortSignal} signal */
  const read = async (body, signal) => {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const parts = rest.split("\n");
      rest = done ? "" : /** @type {string} */ (parts.pop());
      if (done && parts.at(-1) === "") parts.pop();
      if (parts.length > 0) add(parts);
      if (done) return;
    }
  };

  pane.addEventListener("scroll", () => {
    const isAtEnd = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - ROW;
    if (!isAtEnd && isPressed(following) && pane.matches(":hover, :focus")) following.setAttribute("aria-pressed", "false");
    draw();
  });
  new ResizeObserver(() => {
    if (rows) {
      rows = [];
      wrapFrom(0);
    }
    draw();
  }).observe(pane);
  wrapping.addEventListener("click", () => {
    rows = rows ? null : [];
    wrapFrom(0);
    wrapping.setAttribute("aria-pressed", String(rows !== null));
    draw();
  });
  following.addEventListener("click", () => {
    following.setAttribute("aria-pressed", String(!isPressed(following)));
    draw();
  });
  let due = 0;
  finding.addEventListener("input", () => {
    clearTimeout(due);
    due = window.setTimeout(() => {
      hit = -1;
      look(0);
      if (hits.length) go(1);
      draw();
    }, 150);
  });
  finding.addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      finding.value = "";
      look(0);
      draw();
      pane.focus();
    }
  });
  panel.addEventListener("change", (event) => {
    if (event.target instanceof HTMLSelectElement) void load();
  });
  document.addEventListener("click", (event) => {
    const node = event.target instanceof Element ? event.target.closest("[data-show-run]") : null;
    const select = runs();
    if (!node || !select) return;
    const name = node.getAttribute("data-show-run") ?? "";
    const there = [...select.options].find(({ value }) => value === name || value.startsWith(`${name}.`));
    if (!there) return;
    select.value = there.value;
    void load();
  });
  // Another attempt, or another step, has a log of its own.
  let shown = one("#lead")?.dataset.attempt;
  document.addEventListener("fresh", () => {
    const now = one("#lead")?.dataset.attempt;
    if (now === shown) return;
    shown = now;
    if (isPressed(following) && !runs()?.value && !chosenAttempt()) void load();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) connection.abort();
  });
  addEventListener("pagehide", () => stop.abort());
  void load();
}

// --- keys

/** @type {Record<string, () => void>} */
const KEYS = {
  "/": () => one("[data-find]")?.focus(),
  "?": () => /** @type {HTMLDialogElement | null} */ (one("#keys"))?.showModal(),
  n: () => one("[data-key='n']")?.click(),
  f: () => one("[data-log-find]")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  x: () => one("[data-mark]", document.activeElement?.closest("[data-row]") ?? document.createElement("p"))?.click(),
  "g t": () => location.assign(root),
  "g q": () => location.assign(`${root}queues`),
};

/** Walk along the list. @param {number} by */
function step(by) {
  const links = all("[data-open]");
  const row = document.activeElement?.closest("[data-row]");
  const at = row ? links.findIndex((link) => row.contains(link)) : by > 0 ? -1 : links.length;
  links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
}

let before = "";
document.addEventListener("keydown", (event) => {
  const where = event.target instanceof Element ? event.target : document.body;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  // One that was just closed may have the focus until the next frame.
  if (where.closest("input:not([type='checkbox']), textarea, select, dialog[open]")) return;
  const key = before === "g" ? `g ${event.key}` : event.key;
  before = event.key;
  const act = KEYS[key];
  if (!act) return;
  event.preventDefault();
  act();
});

// --- what is pressed

document.addEventListener("click", async (event) => {
  const pressed = event.target instanceof Element ? event.target.closest("button, [data-row]") : null;
  if (!(pressed instanceof HTMLElement)) return;
  if (pressed.dataset.copy !== undefined) {
    await navigator.clipboard.writeText(pressed.dataset.copy).then(() => say("Copied."), () => say("The browser does not let it be copied.", true));
  } else if (pressed.dataset.many !== undefined) {
    await many(pressed);
  } else if (pressed.dataset.call !== undefined) {
    if (!(await sure(pressed.dataset.ask))) return;
    await perform(pressed, pressed.dataset.body === undefined ? undefined : JSON.parse(pressed.dataset.body)).catch(sayWhy);
  }
});

document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (form.dataset.call !== undefined) {
    event.preventDefault();
    void send(form);
  } else if ("tidy" in form.dataset) {
    // What is empty says nothing, and an address is easier to read without it.
    for (const field of /** @type {Field[]} */ (all("input, select", form))) field.disabled = field.value === "" || (field.name === "sort" && field.value === "-createdAt");
    setTimeout(() => all("input, select", form).forEach((field) => field.removeAttribute("disabled")));
  }
});

document.addEventListener("change", (event) => {
  const field = event.target instanceof Element ? event.target : null;
  const form = field?.closest("form");
  if (form && "atOnce" in form.dataset) form.requestSubmit();
  if (field instanceof HTMLInputElement && "markAll" in field.dataset) {
    for (const box of /** @type {HTMLInputElement[]} */ (all("[data-mark]"))) box.checked = field.checked;
  }
  marked();
});

document.addEventListener(
  "toggle",
  async (event) => {
    const details = event.target instanceof HTMLDetailsElement ? event.target : null;
    const into = details && one("[data-into]", details);
    if (!details?.dataset.fetch || !details.open || !into || into.textContent) return;
    const response = await fetch(root + details.dataset.fetch);
    into.textContent = response.ok ? await response.text() : "It cannot be shown now.";
  },
  true,
);

/** On a narrow screen the way to the page that is open may be out of sight. */
function showWhere() {
  const nav = one(".nav");
  const here = nav && one("[aria-current]", nav);
  if (!here) return;
  const [frame, at] = [nav.getBoundingClientRect(), here.getBoundingClientRect()];
  if (at.right > frame.right) nav.scrollLeft += at.right - frame.right + (frame.width - at.width) / 2;
}

showWhere();
clocks();
tick();
setInterval(tick, 1_000);
const stage = one("[data-stream]");
if (stage) live(stage);
const panel = one("[data-log]");
if (panel) log(panel);
const order = /** @type {HTMLFormElement | null} */ (one("form[data-order]"));
if (order) newTask(order);
