"use strict";
// Draws the scenarios of a run; page.js calls it with its own helpers.
function drawScenarios(data, { $, el, svg, seconds, show }) {
  const table = (columns, lines, kind = "") => {
    const made = el("table", { class: kind }, el("tr", {}, ...columns.map((c) => el("th", {}, c))));
    for (const line of lines) made.append(el("tr", {}, ...line.map((c, i) => el("td", { "data-column": columns[i] }, c))));
    return made;
  };
  const mark = (verdict) => el("span", { class: `said v-${verdict.replace(" ", "-")}` }, verdict);
  const part = (title, ...children) => el("div", { class: "part" }, el("h3", {}, title), ...children);
  const folded = (title, ...children) => el("details", {}, el("summary", {}, title), ...children);
  const short = (name) => name.replaceAll("/", "/\u200b");
  const number = (value) => value.toFixed(2);

  function objectives(one) {
    const worstFirst = [...one.objectives].sort((a, b) => (a.verdict === "pass") - (b.verdict === "pass"));
    return part("Objectives", table(["verdict", "objective", "why"], worstFirst.map((o) => [mark(o.verdict), o.name, o.why])));
  }
  function blast(one) {
    const lines = one.blast.map((row) => {
      const times = row.falls.map(([t, until]) => `${seconds(t)} to ${until === null ? "the end" : seconds(until)}`).join(", ");
      const said = row.declared ? (row.falls.length ? "as declared" : "declared, stayed Ready") : "beyond what was declared";
      return [short(row.object), row.declared ? "may leave Ready" : "must stay Ready", times || "stayed Ready", el("span", { class: row.declared ? "" : "v-deviated said" }, said)];
    });
    const none = "Nothing was declared, and nothing left Ready.";
    return part("Blast radius: expected and observed", lines.length ? table(["object", "expected", "observed: not Ready", ""], lines) : el("p", { class: "sub" }, none),
      el("p", { class: "sub" }, `Not touched at all, as a control: ${one.decoy.map(short).join(", ") || "nothing named"}.`));
  }
  function numbers(one) {
    if (!one.numbers.length) return part("Detection and recovery", el("p", { class: "sub" }, "Nothing was measured."));
    const lines = one.numbers.map((n) => [n.what, short(n.object) || "the whole", String(n.n), number(n.low), number(n.p50), n.p95 === null ? "from 20 samples on" : number(n.p95), number(n.high),
      el("span", { class: n.over ? "v-deviated said" : "" }, `${n.budget}${n.over ? ", exceeded" : ""}`), n.samples.map(number).join(", ")]);
    return part("Detection and recovery, in seconds", table(["what", "of", "n", "min", "p50", "p95", "max", "budget", "samples by cycle"], lines, "numbers"));
  }
  function gantt(path) {
    const start = Math.min(...path.links.map((l) => (l.ready ?? one_end(path)) - l.own));
    const end = Math.max(...path.links.map((l) => l.ready ?? one_end(path)), start + 0.001);
    const rows = path.links.map((link) => {
      const to = link.ready ?? end, picture = svg("svg", { viewBox: "0 0 1000 15", preserveAspectRatio: "none", "aria-hidden": "true" });
      const at = (t) => ((t - start) / (end - start)) * 1000;
      picture.append(svg("rect", { x: at(to - link.own), y: 3, width: Math.max(at(to) - at(to - link.own), 3), height: 9, class: link.ready === null ? "no" : "ok" }));
      return el("div", { class: "row" }, el("span", {}, `${link.name}: ${seconds(link.own)} itself${link.ready === null ? ", not Ready" : ""}`), picture);
    });
    return el("div", { class: "gantt" }, ...rows);
  }
  const one_end = (path) => Math.max(0, ...path.links.map((l) => l.ready ?? 0));
  function paths(one) {
    if (!one.paths.length) return part("Critical path of the recovery", el("p", { class: "sub" }, "None: no object of Flux is known to have changed between the beginning of the recovery and its end."));
    return part("Critical path of the recovery", ...one.paths.slice(0, 5).flatMap((path) => [
      el("p", { class: "sub" }, `Cycle ${path.cycle}: ${short(path.links.at(-1).name)} was last; the longest took ${short(longest(path).name)} (${seconds(longest(path).own)}).`), gantt(path)]));
  }
  const longest = (path) => path.links.reduce((a, b) => (b.own > a.own ? b : a));
  function steps(one) {
    const lines = one.steps.map((s) => [`${s.number}`, s.verb, s.cycle ? `${s.cycle}` : "", s.text, el("span", { class: `said r-${s.result}` }, s.result), `${seconds(s.started)} + ${seconds(s.ended - s.started)}`, s.why]);
    return folded(`${lines.length} steps`, table(["no.", "step", "cycle", "what", "result", "when", "why"], lines, "steps"));
  }
  function evidence(one) {
    return one.evidence.map((e) => folded(`Evidence at ${seconds(e.t)}, when it began to fail`, el("p", { class: "sub" }, e.why), ...e.sections.flatMap(([title, text]) => [el("h3", {}, title), el("pre", {}, text)])));
  }
  function fill(one, box) {
    if (one.verdict === "not run") { box.append(el("p", {}, one.why)); return; }
    const view = el("button", { type: "button", class: "chip" }, "show it in the timeline");
    view.addEventListener("click", () => show(`scenario ${one.id} at ${seconds(one.t)}`));
    const told = [`expected: ${one.outcome || "unknown"}`, `seed ${one.seed}`, one.faults.join(", "), one.proves.join(" ")].filter(Boolean).join(" \u00b7 ");
    box.append(el("p", { class: "sub" }, told), el("p", {}, view), objectives(one), blast(one), numbers(one), paths(one),
      part("What this does not certify", el("ul", {}, ...one.uncertain.map((text) => el("li", {}, text)))), steps(one), ...evidence(one));
  }
  const box = $("scenarios");
  box.hidden = false;
  data.scenarios.forEach((one, i) => {
    const made = el("details", { id: `s${i}`, class: "scenario" }, el("summary", {}, mark(one.verdict), el("span", { class: "id" }, `${one.id}: ${one.title}`), el("span", { class: "time" }, one.verdict === "not run" ? "" : seconds(one.end - one.t))));
    made.addEventListener("toggle", () => { if (made.open && made.childElementCount === 1) fill(one, made.appendChild(el("div", {}))); });
    if (data.scenarios.length === 1 || (one.verdict !== "pass" && i === 0)) made.open = true;
    box.append(made);
  });
  const { kinds, rows } = data.matrix;
  if (rows.length && kinds.length) {
    const lines = rows.map((row) => [row.fault, `${row.runs}`, ...row.cells.map((cell) => (cell === null ? "" : cell[0] ? `left in ${cell[0]}` : "declared, stayed"))]);
    box.append(el("div", { class: "part" }, el("h3", {}, "Which kinds left Ready under which fault"), el("div", { class: "wide" }, table(["fault", "runs", ...kinds], lines, "matrix"))));
  }
  for (const link of document.querySelectorAll("a[data-scenario]")) link.addEventListener("click", () => { $(link.dataset.scenario).open = true; });
}
