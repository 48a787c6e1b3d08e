"use strict";
/* The table of all cases: sorts, searches, filters by any column, exports. It reads the data embedded in the page and
   writes texts only, never HTML. */
(() => {
  const source = document.getElementById("table-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const table = document.getElementById("cases");
  const search = document.getElementById("table-search");
  const counter = document.getElementById("table-count");
  const more = document.getElementById("table-more");
  const chooser = document.getElementById("table-columns");
  const step = 100;
  const units = { ns: 1e-9, "µs": 1e-6, us: 1e-6, ms: 1e-3, s: 1, b: 1, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3, k: 1e3, m: 1e6, g: 1e9 };
  const keys = data.columns.map(column => column.key);
  let limit = step;

  const getText = cell => (Array.isArray(cell) ? cell[0] : cell);
  const getSort = cell => (Array.isArray(cell) ? cell[1] : cell);
  const index = key => keys.indexOf(key);

  function readNumber(text) {
    const found = /^([-−+]?[\d.]+(?:e[-+]?\d+)?)\s*([a-zµ%×]*)$/i.exec(text.trim());
    return found ? Number(found[1].replace("−", "-")) * (units[found[2].toLowerCase()] ?? 1) : NaN;
  }

  /* A filter: words that the text holds; of numbers also >1 ms, <=3, 1..2 (with units). */
  function makeTest(text, isNumber) {
    const wanted = text.trim().toLowerCase();
    const bound = /^(<=|>=|<|>|=)(.+)$/.exec(wanted);
    const range = /^(.+?)\.\.(.+)$/.exec(wanted);
    const number = cell => (getSort(cell) === "" ? NaN : Number(getSort(cell)));
    if (isNumber && bound && !Number.isNaN(readNumber(bound[2]))) {
      const limit = readNumber(bound[2]);
      const tests = { "<": x => x < limit, ">": x => x > limit, "<=": x => x <= limit, ">=": x => x >= limit, "=": x => x === limit };
      return cell => tests[bound[1]](number(cell));
    }
    if (isNumber && range && ![1, 2].some(part => Number.isNaN(readNumber(range[part])))) {
      return cell => number(cell) >= readNumber(range[1]) && number(cell) <= readNumber(range[2]);
    }
    return cell => getText(cell).toLowerCase().includes(wanted);
  }

  function listShown() {
    const asked = page.get("cols");
    const shown = asked ? asked.split(",").filter(key => keys.includes(key)) : data.columns.filter(column => column.shown).map(column => column.key);
    return shown.length ? shown : [keys[0]];
  }

  function compare(first, second, falling) {
    const [x, y] = [getSort(first), getSort(second)];
    // cells without a value go last, whichever the direction
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = Number.isNaN(Number(x)) || Number.isNaN(Number(y)) ? x.localeCompare(y) : x - y;
    return falling ? -order : order;
  }

  /* Positions of the rows that are left, in their order. */
  function select() {
    const words = page.get("q").toLowerCase().split(/\s+/).filter(Boolean);
    const tests = page.list("f.").filter(([key]) => keys.includes(key)).map(([key, text]) =>
      [index(key), makeTest(text, data.columns[index(key)].number)]);
    const kept = data.rows.map((row, place) => place).filter(place => {
      const row = data.rows[place];
      return tests.every(([column, test]) => test(row[column]))
        && words.every(word => row.some(cell => getText(cell).toLowerCase().includes(word)));
    });
    const [key, direction] = page.get("sort").split(":");
    if (keys.includes(key)) kept.sort((a, b) => compare(data.rows[a][index(key)], data.rows[b][index(key)], direction === "desc"));
    return kept;
  }

  function make(name, properties = {}, ...children) {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  }

  function drawHead(shown) {
    const focused = table.tHead.contains(document.activeElement) ? document.activeElement.id : null;
    const [key, direction] = page.get("sort").split(":");
    const headings = make("tr"), filters = make("tr", { className: "filters" });
    for (const name of shown) {
      const column = data.columns[index(name)];
      const heading = make("th", { scope: "col" }, make("button", { type: "button", id: `sort-${name}`, textContent: column.heading }));
      if (name === key) heading.setAttribute("aria-sort", direction === "desc" ? "descending" : "ascending");
      heading.firstChild.addEventListener("click", () =>
        page.set({ sort: name !== key ? `${name}:asc` : direction === "desc" ? "" : `${name}:desc` }));
      const field = make("input", { type: "search", id: `filter-${name}`, value: page.get(`f.${name}`), size: 8,
        placeholder: column.number ? "> < .." : "contains", autocomplete: "off" });
      field.setAttribute("aria-label", `Filter by ${column.heading}`);
      field.addEventListener("input", () => { limit = step; page.set({ [`f.${name}`]: field.value }); });
      headings.append(heading);
      filters.append(make("td", {}, field));
    }
    // a field that is typed into stays
    if (focused?.startsWith("filter-") && sameColumns(shown)) {
      table.tHead.rows[0].replaceWith(headings);
      return;
    }
    table.tHead.replaceChildren(headings, filters);
    table.tHead.dataset.columns = shown.join();
    if (focused) document.getElementById(focused)?.focus();
  }

  const sameColumns = shown => table.tHead.dataset.columns === shown.join();

  function drawRow(place, shown) {
    const row = make("tr", { id: `row-${place}` });
    if (data.ids[place] === page.get("row")) row.setAttribute("aria-current", "true");
    shown.forEach((name, position) => {
      const column = index(name), cell = data.rows[place][column];
      const element = make(position ? "td" : "th", { textContent: getText(cell), title: getText(cell).length > 30 ? getText(cell) : "" });
      if (!position) element.scope = "row";
      element.className = [data.columns[column].number ? "number" : "", (Array.isArray(cell) && cell[2]) || ""].join(" ").trim();
      if (!element.title) element.removeAttribute("title");
      if (!element.className) element.removeAttribute("class");
      row.append(element);
    });
    return row;
  }

  function draw() {
    const shown = listShown(), kept = select();
    const wanted = data.ids.indexOf(page.get("row"));
    if (wanted >= 0 && kept.includes(wanted)) limit = Math.max(limit, step * Math.ceil((kept.indexOf(wanted) + 1) / step));
    drawHead(shown);
    table.tBodies[0].replaceChildren(...kept.slice(0, limit).map(place => drawRow(place, shown)));
    const visible = Math.min(limit, kept.length);
    counter.textContent = `${visible} of ${kept.length} rows shown` + (kept.length < data.rows.length ? `, ${data.rows.length} without filters` : "");
    more.hidden = visible >= kept.length;
    if (document.activeElement !== search) search.value = page.get("q");
    for (const box of chooser.querySelectorAll("input")) box.checked = shown.includes(box.value);
  }

  function openRow() {
    const place = data.ids.indexOf(page.get("row"));
    if (place < 0) return;
    if (!select().includes(place)) page.set(Object.fromEntries([["q", ""], ...page.list("f.").map(([key]) => [`f.${key}`, ""])]));
    draw();
    const row = document.getElementById(`row-${place}`);
    row.tabIndex = -1;
    page.show(row);
    row.scrollIntoView({ block: "center" });
  }

  // spreadsheets run what begins like a formula
  const guard = text => (/^'*[=+\-@\t\r＝＋－＠]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const quote = text => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  function writeCsv() {
    const lines = [["case_id", ...keys]];
    for (const place of select()) {
      lines.push([data.ids[place], ...data.rows[place].map((cell, column) => (data.columns[column].number && keys[column] !== "size" ? getSort(cell) : getText(cell)))]);
    }
    return lines.map(line => line.map(text => quote(guard(String(text)))).join(",")).join("\n") + "\n";
  }

  function writeMarkdown() {
    const shown = listShown(), escape = text => text.replace(/[\\`*_{}\[\]|~#<>&!]/g, "\\$&");
    const lines = [shown.map(key => escape(data.columns[index(key)].heading)), shown.map(key => (data.columns[index(key)].number ? "---:" : "---"))];
    for (const place of select()) lines.push(shown.map(key => escape(getText(data.rows[place][index(key)]))));
    return lines.map(line => `| ${line.join(" | ")} |`).join("\n") + "\n";
  }

  data.columns.forEach(column => {
    const box = make("input", { type: "checkbox", value: column.key });
    box.addEventListener("change", () => {
      const chosen = [...chooser.querySelectorAll("input")].filter(each => each.checked).map(each => each.value);
      page.set({ cols: chosen.join() });
    });
    chooser.append(make("label", {}, box, ` ${column.heading}`));
  });
  search.addEventListener("input", () => { limit = step; page.set({ q: search.value }); });
  more.addEventListener("click", () => { limit += 5 * step; draw(); });
  document.getElementById("table-csv").addEventListener("click", () => page.download(writeCsv(), "cases.csv", "text/csv"));
  document.getElementById("table-markdown").addEventListener("click", () => page.copy(writeMarkdown(), `${select().length} rows as Markdown`));
  document.getElementById("table-reset").addEventListener("click", () => {
    limit = step;
    page.set(Object.fromEntries([...["q", "sort", "cols", "row"].map(key => [key, ""]), ...page.list("f.").map(([key]) => [`f.${key}`, ""])]));
    table.tHead.replaceChildren();
    draw();
  });
  page.listen(changed => {
    if (changed.includes("row") && page.get("row")) openRow();
    else if (!changed.length) { table.tHead.dataset.columns = ""; draw(); if (page.get("row")) openRow(); }
    else if (changed.some(key => ["q", "sort", "cols", "row"].includes(key) || key.startsWith("f."))) draw();
  });
  draw();
  if (page.get("row")) addEventListener("DOMContentLoaded", openRow);
})();
