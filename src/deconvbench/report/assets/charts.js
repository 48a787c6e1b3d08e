"use strict";
/* The charts, drawn by Observable Plot from the data embedded in the page. What is dominated, how numbers are
   written and what each chart finds was decided where the data was made; here it is picked and placed. */
(() => {
  const source = document.getElementById("chart-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const form = document.getElementById("switches");
  const frames = Object.fromEntries(
    ["tradeoff", "latency", "memory", "artifact"].map(name => [name, document.getElementById(`chart-${name}`)]));
  const card = document.getElementById("card");
  const chips = document.getElementById("layer-chips");
  const symbols = { own: "star", today: "diamond", fast: "square", other: "circle" };
  for (const entry of data.cases) entry.quality = data.qualities[entry.quality];
  const cases = new Map(data.cases.map(entry => [entry.id, entry]));
  let pinned = null;

  const values = number => data.settings[number].values;

  /* The setting that the switches ask for; of those that were measured the nearest. */
  function findSetting(changed) {
    const asked = data.fields.map((field, index) => page.get(field.key, values(data.start.setting)[index]));
    const score = number => values(number).reduce((sum, value, index) =>
      sum + (value === asked[index]) * (data.fields[index].key === changed ? 100 : 1), 0);
    return d3.greatest(d3.range(data.settings.length), score);
  }

  function findMetric() {
    const asked = data.metrics.findIndex(metric => metric.key === page.get("y"));
    return asked >= 0 ? asked : data.metrics.findIndex(metric => metric.key === data.start.metric);
  }

  const getName = entry => data.layers[entry.layer].name;
  const getKind = entry => data.layers[entry.layer].kind;
  const listHighlighted = () => page.get("on").split(",").filter(Boolean);
  const tag = entry => `${getKind(entry) === "own" ? "★ " : ""}${shorten(getName(entry))}`;
  const shorten = text => text.length > 34 ? `${text.slice(0, 33)}…` : text;

  function select(number) {
    const words = page.get("layers").toLowerCase().split(/[\s,]+/).filter(Boolean);
    return data.cases.filter(entry => entry.setting === number
      && (!words.length || words.some(word => getName(entry).toLowerCase().includes(word))));
  }

  function getColour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function describe(entry, metric) {
    const quality = metric >= 0 ? entry.quality[metric] : null;
    const unit = metric >= 0 ? data.metrics[metric].label : "";
    return [
      ["latency", entry.latency[3] + (entry.noisy ? " (noisy)" : "")],
      ["ratio to the baseline", entry.ratio?.[3]],
      [unit, quality?.[3]],
      ["peak memory", entry.memory?.[3]],
    ].filter(([, text]) => text);
  }

  function showCard(entry, metric) {
    card.replaceChildren();
    if (!entry) {
      card.append(Object.assign(document.createElement("p"),
        { className: "note", textContent: "Point at a layer, focus or tap it: its numbers appear here." }));
      return;
    }
    const heading = Object.assign(document.createElement("h3"), { textContent: getName(entry), title: getName(entry) });
    const list = document.createElement("dl");
    for (const [name, text] of describe(entry, metric)) {
      list.append(Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: text }));
    }
    const verdict = Object.assign(document.createElement("p"), { textContent: entry.frontier.includes(metric)
      ? "Not beaten: nothing is both faster and better." : "Another layer is both as fast and as good, or better." });
    if (metric < 0 || !entry.quality[metric]) verdict.textContent = "This quality is not known of it.";
    const link = Object.assign(document.createElement("a"), { textContent: "Show its row", href: page.make({ row: entry.id }) });
    card.append(heading, list, verdict, link);
  }

  function openRow(entry) {
    page.set({ row: entry.id, at: "" });
  }

  function drawTradeoff(number, metric) {
    const frame = frames.tradeoff;
    const title = document.getElementById("title-tradeoff");
    const chosen = select(number);
    const inRatios = page.get("x") === "ratio" && chosen.every(entry => entry.ratio);
    const cost = entry => (inRatios ? entry.ratio : entry.latency);
    const known = metric < 0 ? [] : d3.sort(chosen.filter(entry => entry.quality[metric]), entry => cost(entry)[0]);
    title.textContent = data.settings[number].titles.tradeoff[data.metrics[metric]?.key] ?? "No quality is known here";
    document.getElementById("how-tradeoff").textContent = data.metrics[metric]?.how ?? "";
    if (!known.length) {
      frame.replaceChildren(Object.assign(document.createElement("p"),
        { textContent: chosen.length ? "None of the layers shown has this quality." : "No layer has that name." }));
      return;
    }
    const { key, label } = data.metrics[metric];
    const quality = entry => entry.quality[metric];
    const isBest = entry => entry.frontier.includes(metric);
    const highlighted = listHighlighted();
    const isLit = entry => highlighted.includes(getName(entry));
    const isFaded = entry => (highlighted.length ? !isLit(entry) : !isBest(entry) && getKind(entry) !== "own");
    const accent = getColour("--accent"), own = getColour("--own"), ink = getColour("--ink"), muted = getColour("--muted");
    const colour = entry => (getKind(entry) === "own" ? own : isBest(entry) ? accent : muted);
    const named = known.filter(entry => isBest(entry) || isLit(entry) || ["own", "today"].includes(getKind(entry)));
    const front = known.filter(isBest);
    const magnitude = d3.max(known, entry => Math.abs(quality(entry)[0])) || 1;
    const isLog = page.get("ys") === "log";
    const width = Math.max(frame.clientWidth, 280);
    const small = width < 520;
    const places = new Map(named.map((entry, index) => [entry, index % 2 ? 14 : -12]));
    // names at the right end would leave the chart
    const limit = d3.quantile(known, .6, entry => cost(entry)[0]);
    const side = entry => (cost(entry)[0] > limit ? "end" : "start");
    const texts = ["start", "end"].flatMap(anchor => [-12, 14].map(dy => Plot.text(
      named.filter(entry => side(entry) === anchor && places.get(entry) === dy && (!small || isLit(entry) || isBest(entry))),
      { x: entry => cost(entry)[0], y: entry => quality(entry)[0], text: tag, textAnchor: anchor, dy,
        dx: anchor === "start" ? -4 : 4, fontWeight: entry => (isLit(entry) ? "bold" : "normal"),
        fill: entry => (getKind(entry) === "own" ? own : ink), stroke: getColour("--page"), strokeWidth: 4,
        paintOrder: "stroke", ariaHidden: "true" })));
    const chart = Plot.plot({
      width, height: small ? 340 : Math.min(460, Math.max(360, width * .5)),
      marginLeft: 58, marginBottom: 44, marginTop: 26, marginRight: 20, style: { fontSize: "12px", background: "none", color: ink },
      ariaLabel: title.textContent,
      x: { type: page.get("xs", "log"), label: inRatios ? "ratio to the baseline's latency (left is faster) →" : "latency (left is faster) →",
        grid: true, insetLeft: 14, insetRight: 14,
        // of a logarithmic axis only 1, 2 and 5 are named
        tickFormat: value => (page.get("xs", "log") === "log" && !"125".includes(d3.format("e")(value)[0]) ? ""
          : inRatios ? d3.format("~g")(value) : d3.format("~s")(value).replace(/([µmn]?)$/, " $1s")) },
      y: { type: isLog ? "symlog" : "linear", ...(isLog ? { constant: magnitude / 300 } : {}), nice: !isLog,
        label: `${data.metrics[metric].best === "high" ? "↑" : "↓"} ${label}, ${data.metrics[metric].best === "high" ? "up" : "down"} is better`,
        grid: true, ticks: 6, tickFormat: isLog ? "~g" : undefined },
      marks: [
        Plot.ruleX(known.filter(entry => quality(entry)[1] !== null && quality(entry)[2] !== null),
          { x: entry => cost(entry)[0], y1: entry => quality(entry)[1], y2: entry => quality(entry)[2],
            stroke: colour, strokeOpacity: entry => (isFaded(entry) ? .25 : .7) }),
        Plot.ruleY(known.filter(entry => cost(entry)[1] !== null && cost(entry)[2] !== null),
          { y: entry => quality(entry)[0], x1: entry => cost(entry)[1], x2: entry => cost(entry)[2],
            stroke: colour, strokeOpacity: entry => (isFaded(entry) ? .25 : .7) }),
        Plot.line(front, { x: entry => cost(entry)[0], y: entry => quality(entry)[0], curve: "step-after",
          stroke: accent, strokeDasharray: "4 3", strokeOpacity: .8 }),
        Plot.dot(known, { x: entry => cost(entry)[0], y: entry => quality(entry)[0],
          symbol: entry => symbols[getKind(entry)], r: entry => (isLit(entry) || getKind(entry) === "own" ? 8 : 6),
          fill: entry => (isBest(entry) || isLit(entry) ? colour(entry) : getColour("--page")), stroke: colour,
          strokeWidth: 2, opacity: entry => (isFaded(entry) ? .55 : 1),
          href: entry => page.make({ row: entry.id }),
          ariaLabel: entry => [getName(entry), ...describe(entry, metric).map(pair => pair.join(": "))].join(", ") }),
        ...texts,
        Plot.dot(known, Plot.pointer({ x: entry => cost(entry)[0], y: entry => quality(entry)[0], r: 11, stroke: ink,
          fill: "none", ariaHidden: "true" })),
      ],
      symbol: { type: "identity" }, color: { type: "identity" }, r: { type: "identity" }, opacity: { type: "identity" },
    });
    finish(chart, "group");
    chart.dataset.metric = key;
    chart.addEventListener("input", () => { if (!pinned) showCard(chart.value, metric); });
    const find = event => {
      const link = event.target.closest?.("a");
      const href = link?.getAttribute("href") ?? link?.getAttributeNS("http://www.w3.org/1999/xlink", "href");
      return href ? cases.get(new URLSearchParams(href.slice(1)).get("row")) : null;
    };
    chart.addEventListener("focusin", event => { const entry = find(event); if (entry) showCard(entry, metric); });
    chart.addEventListener("click", event => {
      const entry = find(event);
      if (!entry) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.pointerType === "touch") showCard(pinned = entry, metric);
      else openRow(entry);
    });
    chart.addEventListener("keydown", event => { if (event.key === "Escape") showCard(pinned = null, metric); });
    frame.replaceChildren(chart);
  }

  /* Groups have no role that a name would belong to. */
  function finish(chart, role) {
    chart.setAttribute("role", role);
    for (const group of chart.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
  }

  function drawBars(name, number, read, title, label) {
    const frame = frames[name];
    const figure = frame.closest("figure");
    const chosen = d3.sort(select(number).filter(entry => read(entry)), entry => read(entry)[0]);
    figure.hidden = !chosen.length;
    if (!chosen.length) return;
    document.getElementById(`title-${name}`).textContent = title;
    const highlighted = listHighlighted();
    const own = getColour("--own"), accent = getColour("--accent"), muted = getColour("--bar"), ink = getColour("--ink");
    const fill = entry => (getKind(entry) === "own" ? own : highlighted.includes(getName(entry)) || (!highlighted.length
      && getKind(entry) === "today") ? accent : muted);
    const width = Math.max(frame.clientWidth, 280);
    const marginLeft = Math.min(width * .5, 14 + 6.7 * d3.max(chosen, entry => tag(entry).length));
    const fit = text => { const most = Math.floor((marginLeft - 12) / 6.7); return text.length > most ? `${text.slice(0, most - 1)}…` : text; };
    const room = d3.max(chosen, entry => read(entry)[3].replace(/ \(95.*/, "").length) * 7 + 10;
    const least = Math.min(0, d3.min(chosen, entry => read(entry)[0]));
    const chart = Plot.plot({
      width, height: 24 + 19 * chosen.length, marginLeft, marginRight: room, marginTop: 2, marginBottom: 22,
      ariaLabel: title, style: { fontSize: "12px", background: "none", color: ink },
      x: { axis: null, label, domain: [least, d3.max(chosen, entry => Math.max(read(entry)[0], read(entry)[2] ?? -Infinity)) || 1] },
      y: { domain: chosen.map(entry => entry.id), label: null, tickSize: 0, tickFormat: id => fit(tag(cases.get(id))) }, color: { type: "identity" },
      marks: [
        Plot.barX(chosen, { x: entry => read(entry)[0], y: "id", fill, insetTop: 2, insetBottom: 2 }),
        Plot.ruleY(chosen.filter(entry => read(entry)[1] !== null && read(entry)[2] !== null),
          { y: "id", x1: entry => Math.max(read(entry)[1], least), x2: entry => read(entry)[2], stroke: ink }),
        Plot.text(chosen, { x: entry => Math.max(read(entry)[0], read(entry)[2] ?? -Infinity, 0), y: "id", dx: 5,
          text: entry => read(entry)[3].replace(/ \(95.*/, ""), textAnchor: "start",
          fontWeight: entry => (getKind(entry) === "own" ? "bold" : "normal") }),
        Plot.ruleX([0], { stroke: ink }),
      ],
    });
    finish(chart, "img");
    frame.replaceChildren(chart);
  }

  function drawChips(number) {
    const highlighted = listHighlighted();
    const focused = chips.contains(document.activeElement) ? document.activeElement.dataset.layer : null;
    const named = d3.groupSort(select(number), group => group[0].layer, getName);
    chips.replaceChildren(...named.map(name => {
      const kind = data.layers.find(layer => layer.name === name).kind;
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.layer = name;
      button.title = name;
      button.setAttribute("aria-pressed", highlighted.includes(name));
      button.append(drawSymbol(kind), shorten(name));
      return button;
    }));
    if (focused) [...chips.children].find(button => button.dataset.layer === focused)?.focus();
  }

  function drawSymbol(kind) {
    const shapes = { own: d3.symbolStar, today: d3.symbolDiamond, fast: d3.symbolSquare, other: d3.symbolCircle };
    return d3.create("svg").attr("viewBox", "-7 -7 14 14").attr("class", `symbol ${kind}`).attr("aria-hidden", "true")
      .call(svg => svg.append("path").attr("d", d3.symbol(shapes[kind], 70)())).node();
  }

  function draw(changed = []) {
    const number = findSetting(changed[0]);
    const metric = findMetric();
    data.fields.forEach((field, index) => { const control = form.elements[field.key]; if (control) control.value = values(number)[index]; });
    if (form.elements.y) form.elements.y.value = data.metrics[metric]?.key ?? "";
    for (const [key, start] of [["x", "latency"], ["xs", "log"], ["ys", "linear"]]) form.elements[key].value = page.get(key, start);
    if (form.elements.layers !== document.activeElement) form.elements.layers.value = page.get("layers");
    const titles = data.settings[number].titles;
    drawChips(number);
    drawTradeoff(number, metric);
    drawBars("latency", number, entry => entry.latency, titles.latency, "latency");
    drawBars("memory", number, entry => entry.memory, titles.memory, "peak memory");
    const found = data.metrics[metric];
    drawBars("artifact", number, entry => (metric < 0 ? null : entry.quality[metric]), titles.artifact[found?.key] ?? "", found?.label);
    if (!card.childElementCount || changed.length) showCard(pinned = null, metric);
  }

  for (const slot of document.querySelectorAll("[data-symbol]")) slot.replaceChildren(drawSymbol(slot.dataset.symbol));
  form.addEventListener("input", event => {
    const { name, value } = event.target;
    if (!name) return;
    const fields = data.fields.map(field => field.key);
    if (!fields.includes(name)) {
      const starts = { x: "latency", xs: "log", ys: "linear", y: data.start.metric };
      page.set({ [name]: starts[name] === value ? "" : value });
      return;
    }
    // what the switches come to is written out, so that a link does not depend on how it was reached
    page.set({ [name]: value });
    const settled = values(findSetting(name)), start = values(data.start.setting);
    page.set(Object.fromEntries([[name, ""], ...fields.map((key, index) => [key, settled[index] === start[index] ? "" : settled[index]])]));
  });
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", event => {
    event.preventDefault();
    page.set(Object.fromEntries([...data.fields.map(field => field.key), "x", "xs", "y", "ys", "layers", "on"].map(key => [key, ""])));
  });
  chips.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    const on = new Set(listHighlighted());
    if (!on.delete(button.dataset.layer)) on.add(button.dataset.layer);
    page.set({ on: [...on].join(",") });
  });
  const mine = new Set([...data.fields.map(field => field.key), "x", "xs", "y", "ys", "layers", "on"]);
  page.listen(changed => { if (!changed.length || changed.some(key => mine.has(key))) draw(changed); });
  let last = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - last) < 2) return;
    last = entry.contentRect.width;
    draw();
  }).observe(frames.tradeoff);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  // paper is white
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); draw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); draw(); });
  draw();
})();
