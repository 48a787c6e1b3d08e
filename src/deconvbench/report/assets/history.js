"use strict";
/* One case over the commits, drawn by Observable Plot from the data embedded in the page. What is a change, and how
   numbers are written, was decided where the data was made. */
(() => {
  const source = document.getElementById("history-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const form = document.getElementById("switches");
  const frame = document.getElementById("chart-history");
  const card = document.getElementById("card");
  const [PLACE, COST, LOW, HIGH, LEVEL, TEXT] = [0, 1, 2, 3, 4, 5];
  const place = point => point[PLACE], cost = point => point[COST], level = point => point[LEVEL];

  const getColour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const getSeries = () => data.series[page.get("case", "0")] ?? data.series[0];

  /* Of the points of a case the one at a commit, or the nearest. */
  function findPoint(series) {
    const given = Number(page.get("commit", data.commits.length - 1));
    const asked = Number.isFinite(given) ? given : data.commits.length - 1;
    return d3.least(series.points, point => Math.abs(point[PLACE] - asked));
  }

  function showCard(series, point) {
    const facts = [
      ["commit", data.commits[point[PLACE]]],
      [series.unit, point[TEXT]],
      ["over the first level", d3.format(".3f")(point[COST])],
      ["level here", d3.format(".3f")(point[LEVEL])],
      ...series.changes.filter(change => change.from < point[PLACE] && point[PLACE] <= change.to)
        .map(change => ["a change lies here", change.text]),
    ];
    const heading = Object.assign(document.createElement("h3"), { textContent: series.name });
    const list = document.createElement("dl");
    for (const [name, text] of facts) {
      list.append(Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: text }));
    }
    card.replaceChildren(heading, list);
  }

  function draw() {
    const series = getSeries(), points = series.points;
    const chosen = findPoint(series);
    form.elements.case.value = String(data.series.indexOf(series));
    form.elements.y.value = page.get("y", "most");
    form.elements.commit.value = chosen[PLACE];
    document.getElementById("title-history").textContent = series.title;
    showCard(series, chosen);
    const ink = getColour("--ink"), accent = getColour("--accent");
    const colours = { slower: getColour("--bad"), faster: getColour("--good") };
    const costs = d3.sort(points.map(cost));
    const ends = page.get("y") === "all" ? d3.extent(costs) : [d3.quantileSorted(costs, .01), d3.quantileSorted(costs, .99)];
    const room = Math.max(.12 * (ends[1] - ends[0]), .02 * ends[1]);
    const domain = [ends[0] - room, ends[1] + room];
    const width = Math.max(frame.clientWidth, 280);
    const barred = points.filter(point => point[LOW] !== null && point[HIGH] !== null);
    const limit = value => Math.min(Math.max(value, domain[0]), domain[1]);
    const chart = Plot.plot({
      width, height: width < 520 ? 300 : 380, marginLeft: 56, marginBottom: 44, marginTop: 22,
      style: { fontSize: "12px", background: "none", color: ink }, ariaLabel: series.title, clip: true,
      x: { label: "commit →", domain: [-.5, data.commits.length - .5], ticks: Math.max(2, Math.floor(width / 150)),
        tickFormat: at => (Number.isInteger(at) ? data.commits[at]?.slice(0, 12) ?? "" : "") },
      y: { label: "↑ cost over the first level, up is slower", domain, grid: true },
      color: { type: "identity" }, opacity: { type: "identity" }, r: { type: "identity" },
      marks: [
        Plot.rectX(series.changes, { x1: "from", x2: "to", fill: change => colours[change.verdict], fillOpacity: .25 }),
        Plot.ruleY([1], { stroke: ink, strokeOpacity: .4 }),
        Plot.ruleX(barred, { x: place, y1: point => limit(point[LOW]), y2: point => limit(point[HIGH]), stroke: accent, strokeOpacity: .35 }),
        Plot.dot(points, { x: place, y: cost, r: 2.5, fill: accent, clip: true }),
        Plot.line(points, { x: place, y: level, curve: "step", stroke: ink, strokeWidth: 1.5 }),
        Plot.dot([chosen], { x: place, y: point => limit(point[COST]), r: 7, stroke: ink, strokeWidth: 2 }),
        Plot.dot(points, Plot.pointerX({ x: place, y: cost, r: 7, stroke: ink, clip: true })),
      ],
    });
    chart.setAttribute("role", "img");
    for (const group of chart.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
    chart.addEventListener("input", () => showCard(series, chart.value ?? chosen));
    chart.addEventListener("click", () => { if (chart.value) page.set({ commit: chart.value[PLACE] }); });
    frame.replaceChildren(chart);
  }

  form.addEventListener("input", event => {
    const { name, value } = event.target;
    const starts = { case: "0", y: "most", commit: String(data.commits.length - 1) };
    if (name in starts) page.set({ [name]: starts[name] === value ? "" : value });
  });
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", event => {
    event.preventDefault();
    page.set({ case: "", y: "", commit: "" });
  });
  // the table's links name a case; the chart is what they lead to
  document.addEventListener("click", event => {
    const link = event.target.closest?.('a[href^="#case="]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    page.set({ case: link.getAttribute("href").slice("#case=".length) });
    page.go("switches");
  });
  page.listen(draw);
  let last = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - last) < 2) return;
    last = entry.contentRect.width;
    draw();
  }).observe(frame);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); draw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); draw(); });
  draw();
})();
