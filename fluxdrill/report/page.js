"use strict";
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(stream).text());
  const S = data.strings;
  const total = Math.max(data.seconds, 0.001);
  const $ = (id) => document.getElementById(id);
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) key === "class" ? (node.className = value) : node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const svg = (tag, attributes = {}, text = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    return node;
  };
  const KIND = { True: "ok", Current: "ok", False: "no", Failed: "no", Unknown: "busy", InProgress: "busy", Terminating: "gone", NotFound: "gone", gone: "gone" };
  const colour = (status) => KIND[status] || "busy";
  const seconds = (t) => `${t.toFixed(1)} s`;

  function drawGraph(graph) {
    const width = 215, height = 46, across = 270, down = 62;
    const at = Object.fromEntries(graph.nodes.map((n) => [n.name, [n.column * across + 8, n.row * down + 8]]));
    const columns = Math.max(...graph.nodes.map((n) => n.column)) + 1, rows = Math.max(...graph.nodes.map((n) => n.row)) + 1;
    const picture = svg("svg", { width: columns * across, height: rows * down + 8, role: "img", "aria-label": graph.title });
    for (const [from, to] of graph.edges) {
      if (!at[from] || !at[to]) continue;
      const [x1, y1] = at[from], [x2, y2] = at[to];
      const sx = x1 + width, sy = y1 + height / 2, ty = y2 + height / 2;
      picture.append(svg("path", { d: `M${sx},${sy} C${sx + 28},${sy} ${x2 - 28},${ty} ${x2},${ty}` }));
    }
    for (const node of graph.nodes) {
      const [x, y] = at[node.name];
      const state = graph.states[node.name] || (node.seen ? "" : "never created");
      const box = svg("g", { class: state.split(" ")[0] === "still" ? "moving" : state.split(" ")[0] });
      const name = node.name.split("/").slice(-1)[0];
      box.append(svg("rect", { x, y, width, height, rx: 7 }));
      box.append(svg("text", { x: x + 10, y: y + 19 }, name.length > 30 ? name.slice(0, 29) + "\u2026" : name));
      box.append(svg("text", { x: x + 10, y: y + 36, class: "state" }, state));
      box.append(svg("title", {}, `${node.name}: ${state}`));
      picture.append(box);
    }
    const holder = el("div", { class: "graph" }, el("h2", {}, graph.title || "What waits for what"));
    holder.append(picture);
    return holder;
  }
  for (const graph of data.graphs.slice(0, 4)) if (graph.nodes.length) $("graphs").append(drawGraph(graph));

  const W = 1000;
  const x = (t) => (Math.min(Math.max(t, 0), total) / total) * W;
  function bar(row) {
    const picture = svg("svg", { viewBox: `0 0 ${W} 15`, preserveAspectRatio: "none", "aria-hidden": "true" });
    row.segments.forEach((segment, i) => {
      const end = i + 1 < row.segments.length ? row.segments[i + 1][0] : total;
      const status = S[segment[1]];
      const kind = colour(status);
      const part = svg("rect", { x: x(segment[0]), y: kind === "no" ? 1 : 3, width: Math.max(x(end) - x(segment[0]), 1.5), height: kind === "no" ? 13 : 9, class: kind });
      part.append(svg("title", {}, `${seconds(segment[0])} ${status} ${S[segment[2]]} ${S[segment[3]].slice(0, 200)}`));
      picture.append(part);
    });
    for (const gap of data.gaps) if (gap.lab === row.lab) picture.append(svg("rect", { x: x(gap.t), y: 0, width: Math.max(x(gap.end) - x(gap.t), 2), height: 15, class: "gapband" }));
    return picture;
  }
  function detail(title, columns, lines) {
    const table = el("table", {}, el("tr", {}, ...columns.map((c) => el("th", {}, c))));
    for (const line of lines) table.append(el("tr", {}, ...line.map((c) => el("td", {}, c))));
    $("detail").querySelector("div").replaceChildren(el("h2", {}, title), table);
    $("detail").showModal();
  }
  const lazily = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { lazily.unobserve(one.target); one.target.append(bar(one.target.row)); }
  }, { rootMargin: "400px" });
  const failed = (row) => row.segments.some((s) => colour(S[s[1]]) === "no");
  function rows() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const onlyChanged = $("changed").checked;
    const wanted = data.objects.filter((row) => {
      if (onlyChanged && !failed(row)) return false;
      const name = row.object.toLowerCase();
      return words.every((word) => name.includes(word));
    });
    $("shown").textContent = `${wanted.length} of ${data.objects.length} objects`;
    const parts = [];
    let lab = null;
    for (const row of wanted.slice(0, 1500)) {
      if (row.lab !== lab) { lab = row.lab; if (data.labs.length > 1) parts.push(el("p", { class: "group" }, lab)); }
      const line = el("button", { class: "row", type: "button", title: row.object }, el("span", {}, row.object));
      line.row = row;
      line.addEventListener("click", () => detail(row.object, ["second", "status", "reason", "message"], row.segments.map((s) => [seconds(s[0]), S[s[1]], S[s[2]], S[s[3]]])));
      if (parts.length < 60) line.append(bar(row)); else lazily.observe(line);
      parts.push(line);
    }
    $("rows").replaceChildren(...parts);
  }
  if (data.objects.length) {
    $("timeline").hidden = false;
    const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", {}, seconds(part * total)));
    $("axis").replaceChildren(el("span", {}), el("div", {}, ...marks));
    $("changed").checked = data.objects.some(failed);
    $("filter").addEventListener("input", rows);
    $("changed").addEventListener("change", rows);
    rows();
  }

  const order = { failed: 0, error: 0, xpassed: 1, passed: 2, xfailed: 3, skipped: 4 };
  let only = null;
  function cases() {
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = data.tests.filter((t) => (!only || t.outcome === only) && words.every((w) => `${t.id} ${t.statement}`.toLowerCase().includes(w)));
    wanted.sort((a, b) => order[a.outcome] - order[b.outcome] || a.t - b.t);
    $("cases").replaceChildren(...wanted.map((test) => {
      const head = el("summary", {}, el("span", { class: `mark ${test.outcome}` }, test.outcome), el("span", { class: "id" }, test.id), el("span", { class: "time" }, seconds(test.seconds)));
      const box = el("details", {}, head);
      box.addEventListener("toggle", () => {
        if (box.childElementCount > 1) return;
        if (test.statement) box.append(el("p", { class: "sub" }, test.statement));
        if (test.message) box.append(el("pre", {}, test.message));
        for (const [title, text] of test.sections) box.append(el("h2", {}, title), el("pre", {}, text));
      }, { once: false });
      if (wanted.length <= 3 && test.outcome === "failed") box.open = true;
      return box;
    }));
  }
  if (data.tests.length) {
    $("tests").hidden = false;
    for (const [name, count] of Object.entries(data.counts)) {
      const chip = el("button", { class: "chip", type: "button", "aria-pressed": "false" }, `${count} ${name}`);
      chip.addEventListener("click", () => {
        only = only === name ? null : name;
        for (const other of $("outcomes").children) other.setAttribute("aria-pressed", String(other === chip && only === name));
        cases();
      });
      $("outcomes").append(chip);
    }
    $("find").addEventListener("input", cases);
    cases();
  }
  for (const text of data.texts) $("texts").append(el("section", {}, el("h2", {}, text.title), el("pre", {}, text.text)));
  const list = $("facts").querySelector("dl");
  const fact = (name, value) => list.append(el("dt", {}, name), el("dd", {}, Array.isArray(value) ? value.join(", ") : typeof value === "object" ? Object.entries(value).map(([k, v]) => `${k} ${v}`).join(", ") : String(value)));
  for (const [name, value] of Object.entries(data.facts)) fact(name, value);
  for (const lab of data.labs) fact(`lab ${lab.lab}`, `started in ${seconds(lab.seconds)}`);
  if (data.gaps.length) fact("API server silent", data.gaps.map((g) => `${seconds(g.t)} to ${seconds(g.end)} (${g.why})`));
  document.documentElement.dataset.ready = "true";
})();
