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
    const width = 225, height = 46, across = 285, down = 62;
    const at = Object.fromEntries(graph.nodes.map((n) => [n.name, [n.column * across + 8, n.row * down + 8]]));
    const columns = Math.max(...graph.nodes.map((n) => n.column)) + 1, rows = Math.max(...graph.nodes.map((n) => n.row)) + 1;
    const picture = svg("svg", { width: columns * across, height: rows * down + 8, role: "img", "aria-label": graph.title });
    const links = Object.fromEntries(graph.path.map((link) => [link.name, link]));
    for (const [from, to] of graph.edges) {
      if (!at[from] || !at[to]) continue;
      const [x1, y1] = at[from], [x2, y2] = at[to];
      const sx = x1 + width, sy = y1 + height / 2, ty = y2 + height / 2;
      const critical = links[to] && links[to].waited_for === from;
      picture.append(svg("path", { class: critical ? "critical" : "", d: `M${sx},${sy} C${sx + 28},${sy} ${x2 - 28},${ty} ${x2},${ty}` }));
    }
    for (const node of graph.nodes) {
      const [x, y] = at[node.name];
      const state = graph.states[node.name] || (node.seen ? "" : "never created");
      const link = links[node.name];
      const box = svg("g", { class: `${state.split(" ")[0] === "still" ? "moving" : state.split(" ")[0]}${link ? " critical" : ""}` });
      const [kind, name] = [node.name.split("/")[0], node.name.split("/").at(-1)];
      const told = `${kind === "Kustomization" ? "" : `${kind}: `}${state}${link ? `, ${seconds(link.own)} itself` : ""}`;
      box.append(svg("rect", { x, y, width, height, rx: 7 }));
      box.append(svg("text", { x: x + 10, y: y + 19 }, name.length > 30 ? name.slice(0, 29) + "\u2026" : name));
      box.append(svg("text", { x: x + 10, y: y + 36, class: "state" }, told));
      box.append(svg("title", {}, `${node.name}: ${state}`));
      picture.append(box);
    }
    const holder = el("div", { class: "graph" }, el("h2", {}, graph.title || "What waits for what"));
    if (graph.path.length) {
      const chain = graph.path.map((link) => `${link.name.split("/").at(-1)} ${seconds(link.own)}${link.ready === null ? " (not Ready)" : ""}`);
      holder.append(el("p", { class: "sub" }, el("b", {}, "Critical path: "), chain.join(" \u2192 ")));
    }
    holder.append(picture);
    return holder;
  }
  for (const graph of data.graphs.slice(0, 4)) if (graph.nodes.length) $("graphs").append(drawGraph(graph));

  const W = 1000;
  let from = 0, to = total;
  const x = (t) => ((Math.min(Math.max(t, from), to) - from) / (to - from)) * W;
  const inside = (start, end) => end >= from && start <= to;
  const of = (one, lab) => !one.lab || one.lab === lab;
  const links = {};
  const critical = (lab, link, until) => (links[`${lab} ${link.name}`] ??= []).push({ ...link, ready: link.ready ?? until });
  for (const graph of data.graphs) for (const link of graph.path) critical(graph.lab, link, graph.t);
  for (const one of data.scenarios) for (const path of one.paths) for (const link of path.links) critical(one.lab, link, one.end);
  const canvas = () => svg("svg", { viewBox: `0 0 ${W} 15`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const band = (start, end, kind) => svg("rect", { x: x(start), y: 0, width: Math.max(x(end) - x(start), 2), height: 15, class: kind });
  function bands(picture, lab) {
    for (const gap of data.gaps) if (of(gap, lab) && inside(gap.t, gap.end)) picture.append(band(gap.t, gap.end, "gapband"));
    for (const one of data.disturbances) if (of(one, lab) && inside(one.t, one.end)) picture.append(band(one.t, one.end, "faultband"));
    return picture;
  }
  function bar(row) {
    const picture = bands(canvas(), row.lab);
    row.segments.forEach((segment, i) => {
      const end = i + 1 < row.segments.length ? row.segments[i + 1][0] : total;
      if (!inside(segment[0], end)) return;
      const status = S[segment[1]];
      const kind = colour(status);
      const [y, height] = { no: [1, 13], gone: [7, 1.5] }[kind] ?? [3, 9];
      const part = svg("rect", { x: x(segment[0]), y, width: Math.max(x(end) - x(segment[0]), 1.5), height, class: kind });
      part.append(svg("title", {}, `${seconds(segment[0])} ${status} ${S[segment[2]]} ${S[segment[3]].slice(0, 200)}`));
      picture.append(part);
    });
    for (const link of links[`${row.lab} ${row.object}`] ?? []) if (link.own > 0) picture.append(svg("rect", { x: x(link.ready - link.own), y: 0, width: Math.max(x(link.ready) - x(link.ready - link.own), 2), height: 2.5, class: "critical" }));
    return picture;
  }
  function bracket(wait) {
    const picture = bands(canvas(), wait.lab);
    const [start, end] = [x(wait.t), Math.max(x(wait.end), x(wait.t) + 2)];
    picture.append(svg("path", { class: wait.outcome === "met" ? "bracket" : "bracket no", d: `M${start},3 V12 M${start},7.5 H${end} M${end},3 V12` }));
    return picture;
  }
  function detail(title, columns, lines) {
    const table = el("table", {}, el("tr", {}, ...columns.map((c) => el("th", {}, c))));
    for (const line of lines) table.append(el("tr", {}, ...line.map((c) => el("td", {}, c))));
    $("detail").querySelector("div").replaceChildren(el("h2", {}, title), table);
    $("detail").showModal();
  }
  const lazily = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { lazily.unobserve(one.target); one.target.append(one.target.draw()); }
  }, { rootMargin: "400px" });
  function line(kind, name, draw, show) {
    const made = el("button", { class: `row ${kind}`, type: "button", title: name }, el("span", {}, name));
    made.draw = draw;
    made.addEventListener("click", show);
    return made;
  }
  const objectLine = (row) => line(links[`${row.lab} ${row.object}`] ? "critical" : "", row.object, () => bar(row), () =>
    detail(row.object, ["second", "status", "reason", "message"], row.segments.map((s) => [seconds(s[0]), S[s[1]], S[s[2]], S[s[3]]])));
  const waitLine = (wait) => line("wait", `wait: ${wait.what}`, () => bracket(wait), () =>
    detail(`Waiting for ${wait.what}`, ["", ""], [["outcome", wait.outcome], ["answer", wait.why], ["began", seconds(wait.t)], ["took", `${seconds(wait.end - wait.t)}, deadline ${seconds(wait.deadline)}`],
      ["objects", wait.objects.join(", ") + (wait.count > wait.objects.length ? ` and ${wait.count - wait.objects.length} more` : "")]]));
  function disturbed(one) {
    const right = x((one.t + one.end) / 2) > W / 2;
    const label = el("div", { class: "done", title: one.what }, el("span", {}, `${one.what}, ${seconds(one.end - one.t)}${one.open ? ", not healed" : ""}`));
    label.style.setProperty("--at", `${right ? (W - x(one.end)) / 10 : x(one.t) / 10}%`);
    label.style.setProperty("--long", `${(x(one.end) - x(one.t)) / 10}%`);
    if (right) label.classList.add("right");
    return el("div", { class: "lane" }, el("span", {}, `${one.fault ? "fault" : "disturbed"}: ${one.target}`), el("div", {}, label));
  }
  const failed = (row) => row.segments.some((s) => colour(S[s[1]]) === "no");
  const names = new Map(data.objects.map((row) => [row, row.object.toLowerCase()]));
  const firsts = (list, limit) => [list.slice(0, limit), Math.max(list.length - limit, 0)];
  function rows() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (text) => words.every((word) => text.includes(word));
    const onlyChanged = $("changed").checked;
    const there = (row) => row.segments[0][0] <= to && (row.segments.at(-1)[0] >= from || S[row.segments.at(-1)[1]] !== "gone");
    const wanted = data.objects.filter((row) => there(row) && (!onlyChanged || failed(row) || links[`${row.lab} ${row.object}`]) && matches(names.get(row)));
    $("shown").textContent = `${wanted.length} of ${data.objects.length} objects`;
    const waits = $("waiting").checked ? data.waits.filter((wait) => inside(wait.t, wait.end) && (!onlyChanged || wait.outcome !== "met") && matches(`${wait.what} ${wait.objects.join(" ")}`.toLowerCase())) : [];
    const faults = data.disturbances.filter((one) => inside(one.t, one.end));
    const byLab = Map.groupBy(wanted, (row) => row.lab);
    const labs = new Set([...data.labs.map((one) => one.lab), ...data.objects.map((row) => row.lab), ...waits.map((one) => one.lab), ...faults.map((one) => one.lab)]);
    const parts = [];
    for (const lab of labs) {
      const [shownWaits, moreWaits] = firsts(waits.filter((one) => one.lab === lab), 200);
      const [shownRows, moreRows] = firsts(byLab.get(lab) ?? [], 1500);
      const [shownFaults, moreFaults] = firsts(faults.filter((one) => one.lab === lab), 60);
      const lines = [...shownFaults.map(disturbed), ...shownWaits.map(waitLine), ...shownRows.map(objectLine)];
      if (lines.length && labs.size > 1) parts.push(el("p", { class: "group" }, lab || "all labs"));
      parts.push(...lines);
      const more = [[moreFaults, "disturbances"], [moreWaits, "waits"], [moreRows, "objects"]].filter(([count]) => count);
      if (more.length) parts.push(el("p", { class: "sub" }, `and ${more.map(([count, what]) => `${count} ${what}`).join(", ")}: filter or choose a time to see them`));
    }
    lazily.disconnect();
    $("rows").replaceChildren(...parts);
    for (const one of parts) if (one.draw) lazily.observe(one);
  }
  function window_() {
    const chosen = $("window").selectedOptions[0].span;
    [from, to] = [Math.max(0, chosen[0]), Math.max(Math.min(total, chosen[1]), chosen[0] + 0.001)];
    const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", {}, seconds(from + part * (to - from))));
    $("axis").replaceChildren(el("span", {}), el("div", {}, ...marks));
    rows();
  }
  if (data.objects.length || data.waits.length || data.disturbances.length) {
    $("timeline").hidden = false;
    $("calm").hidden = data.disturbances.length > 0;
    const choose = (text, start, end) => { const option = el("option", {}, text); option.span = [start, end]; $("window").append(option); };
    choose("the whole run", 0, total);
    const failures = data.tests.filter((t) => t.outcome === "failed" || t.outcome === "error");
    for (const test of failures.slice(0, 50)) choose(`when ${test.id.split("::").at(-1)} failed`, test.t - Math.max(test.seconds, 1) - 1, test.t + 1);
    for (const one of data.scenarios.slice(0, 100)) if (one.verdict !== "not run") choose(`scenario ${one.id} at ${seconds(one.t)}`, one.t - 0.5, one.end + 0.5);
    if (data.labs.length > 1) for (const lab of data.labs.slice(0, 50)) {
      const own = data.objects.filter((row) => row.lab === lab.lab);
      const last = own.reduce((latest, row) => Math.max(latest, row.segments.at(-1)[0]), lab.t);
      choose(`${lab.lab} from its start to its last change`, lab.t - lab.seconds, last + 1);
    }
    $("changed").checked = data.objects.some(failed);
    $("filter").addEventListener("input", rows);
    $("changed").addEventListener("change", rows);
    $("waiting").addEventListener("change", rows);
    $("window").addEventListener("change", window_);
    window_();
  }

  function show(window) {
    const wanted = [...$("window").options].find((option) => option.textContent === window);
    if (wanted) { wanted.selected = true; window_(); }
    $("timeline").scrollIntoView();
  }
  if (data.scenarios.length) drawScenarios(data, { $, el, svg, seconds, show });

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
  requestAnimationFrame(() => setTimeout(() => performance.mark("complete"))); // once it is painted
})();
