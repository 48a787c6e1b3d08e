"use strict";
/* The state of the page is its address: everything that a reader switches is behind the #, so that a link to the
   page reproduces it, from a file too. Also: folded parts open when a link leads into them, and texts are copied. */
const page = (() => {
  const listeners = [];
  let state = new URLSearchParams();

  function read() {
    const hash = location.hash.slice(1);
    // a plain anchor, as in any page
    state = hash.includes("=") || !hash ? new URLSearchParams(hash) : new URLSearchParams({ at: decodeURIComponent(hash) });
  }

  function write() {
    history.replaceState(null, "", `#${state}`);
  }

  function get(key, fallback = "") {
    return state.get(key) ?? fallback;
  }

  function list(prefix) {
    return [...state].filter(([key]) => key.startsWith(prefix)).map(([key, value]) => [key.slice(prefix.length), value]);
  }

  /* Change several keys at once; what is empty leaves the address. */
  function set(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (value === "" || value === null || value === undefined) state.delete(key);
      else state.set(key, value);
    }
    write();
    for (const listener of listeners) listener(Object.keys(changes));
  }

  function make(changes) {
    return `#${new URLSearchParams(changes)}`;
  }

  function show(element) {
    for (let outer = element.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
    if (!element.matches("a, button, input, select, summary, [tabindex]")) element.tabIndex = -1;
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "start" });
  }

  function go(id) {
    const target = id && document.getElementById(id);
    if (target) show(target);
    return Boolean(target);
  }

  function say(text) {
    document.getElementById("status").textContent = text;
  }

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // not allowed from here: the old way, which asks nobody
      const area = Object.assign(document.createElement("textarea"), { value: text, className: "hidden" });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say(`${what} copied`);
  }

  function download(text, name, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`${name} saved`);
  }

  read();
  addEventListener("hashchange", () => {
    read();
    for (const listener of listeners) listener([]);
    go(get("at"));
  });
  document.addEventListener("click", event => {
    const link = event.target.closest?.('a[href^="#"]');
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const id = decodeURIComponent(link.getAttribute("href").slice(1));
    if (id.includes("=") || !document.getElementById(id)) return;
    event.preventDefault();
    set({ at: id });
    go(id);
  });
  document.addEventListener("click", event => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    if (button.dataset.copy === "link") copy(location.href, "Link");
    else copy(document.getElementById(button.dataset.copy).textContent, "Text");
  });
  addEventListener("DOMContentLoaded", () => go(get("at")));
  return { get, set, list, make, go, show, say, copy, download, listen: listener => listeners.push(listener) };
})();
