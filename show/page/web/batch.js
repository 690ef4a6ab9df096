"use strict";

// The batch: every text is in it, so that a number here is a number of its table.
const batch = JSON.parse(document.getElementById("batch").textContent);
const at = (id) => document.getElementById(id);
const form = at("choices"), slider = at("time");
const selects = [...form.querySelectorAll("select")];
const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };
const FACT = { loss: 1, size: 3 };

const middle = (rows) => rows[Math.floor((rows.length - 1) / 2)];
let curve = batch.curves[0];
let row = middle(curve.rows);
// The time that was asked for last: a machine without that budget shows its nearest.
let wanted = row.time_budget_s;

const nearest = (rows, seconds) => rows.reduce((best, one) => (
  Math.abs(Math.log(one.time_budget_s / seconds)) < Math.abs(Math.log(best.time_budget_s / seconds))
    ? one : best));
const alike = (one, picked) => one.picked.filter((value, pick) => value === picked[pick]).length;

// The curve with one value as it is chosen and, of all others, as many as there are.
function choose(pick, value) {
  const fitting = batch.curves.filter((one) => one.picked[pick] === value);
  curve = fitting.reduce((best, one) => (
    alike(one, curve.picked) > alike(best, curve.picked) ? one : best));
  row = nearest(curve.rows, wanted);
}

function seconds(text) {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)];
  if (!parts.length || parts.map((part) => part[0]).join("") !== text) return null;
  return parts.reduce((sum, [, count, unit]) => sum + count * UNITS[unit], 0) || null;
}

// #device=h100-sxm&t=24h; what is not there is told, and the rest is taken.
function readHash() {
  const unknown = [];
  const asked = new URLSearchParams(location.hash.slice(1));
  const time = asked.get("t");
  if (time !== null && seconds(time) === null) unknown.push(`t=${time}`);
  if (time !== null && seconds(time) !== null) wanted = seconds(time);
  const picked = [...curve.picked];
  const named = new Set();
  for (const [name, text] of asked) {
    if (name === "t") continue;
    const pick = batch.picks.findIndex((one) => one.name === name);
    const value = pick < 0 ? -1 : batch.picks[pick].values.indexOf(text);
    if (value < 0) unknown.push(`${name}=${text}`);
    else { picked[pick] = value; named.add(pick); }
  }
  const score = (one) => 100 * [...named].filter((pick) => one.picked[pick] === picked[pick]).length
    + alike(one, picked);
  curve = batch.curves.reduce((best, one) => (score(one) > score(best) ? one : best), curve);
  row = nearest(curve.rows, wanted);
  if (time !== null && seconds(time) !== null && row.time_budget_s !== wanted) unknown.push(`t=${time}`);
  at("note").textContent = unknown.length
    ? `Not in this plan: ${unknown.join(", ")}. The nearest is shown.` : "";
}

function writeHash() {
  const chosen = batch.picks.map((pick, place) => [pick.name, pick.values[curve.picked[place]]]);
  history.replaceState(null, "", `#${new URLSearchParams([...chosen, ["t", row.budget]])}`);
}

function show() {
  const machine = named(curve);
  at("question").textContent = `I have ${row.budget} on ${machine}. Which decoder-only transformer `
    + "should I train, what loss will it reach, and how sure is that?";
  selects.forEach((select, pick) => { select.value = curve.picked[pick]; });
  slider.max = curve.rows.length - 1;
  slider.value = curve.rows.indexOf(row);
  slider.disabled = curve.rows.length === 1;
  slider.setAttribute("aria-valuetext", row.budget);
  at("budget").textContent = row.budget;
  at("least").textContent = curve.rows[0].budget;
  at("most").textContent = curve.rows.at(-1).budget;
  at("answer").textContent = row.answer;
  at("basis").textContent = row.basis;
  [...at("facts").querySelectorAll("dd")].slice(0, row.facts.length).forEach((place, fact) => {
    place.textContent = row.facts[fact][0];
  });
  const end = new Date(Date.now() + 1000 * row.time_budget_s);
  at("end").textContent = Number.isNaN(end.getTime()) ? "–" : end.toLocaleString("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
  });
  at("warnings").hidden = !row.warnings.length;
  at("warnings").querySelector("ul").replaceChildren(...row.warnings.map((warning) => {
    const item = document.createElement("li");
    item.textContent = batch.warnings[warning];
    return item;
  }));
  fill(tables[0], curve.rows.map((one) => [one.budget, one.time_budget_s, one, one === row]));
  const family = [curve, ...others()];
  const same = family.map((one) => [one, one.rows.find((it) => it.time_budget_s === row.time_budget_s)]);
  fill(tables[1], same.filter(([, it]) => it).map(([one, it]) => [named(one), named(one), it, it === row]));
  tables[1].closest("section").hidden = family.length === 1;
  overTime.forEach((plot, place) => draw(plot, place ? FACT.size : FACT.loss, place ? 2 : 0));
  if (map) drawValley();
}

// What makes a machine: its name and, where it is chosen, how it attends.
const ofMachine = batch.picks.map((pick) => ["device", "attention"].includes(pick.name));
const named = (one) => batch.picks.map((pick, place) => (ofMachine[place] ? pick.values[one.picked[place]] : ""))
  .filter(Boolean).join(", ");
const others = () => batch.curves.filter((one) => one !== curve
  && one.picked.every((value, pick) => ofMachine[pick] || value === curve.picked[pick]));

const tables = [...document.querySelectorAll("table.sortable")];
function fill(table, rows) {
  const cell = (text, sort, number) => {
    const made = document.createElement("td");
    made.textContent = text;
    made.dataset.sort = sort ?? "";
    if (number) made.className = "number";
    return made;
  };
  table.tBodies[0].replaceChildren(...rows.map(([name, sort, one, isChosen]) => {
    const line = document.createElement("tr");
    if (isChosen) line.className = "answer";
    const facts = one.facts.slice(0, batch.n_columns);
    line.append(cell(name, sort, sort !== name), ...facts.map(([text, value]) => cell(text, value, true)));
    return line;
  }));
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
}

const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
// The picture's cells, of which each column of a map has a run of neighbours, and the star.
const overTime = batch.axes ? plots.slice(1) : plots;
const map = batch.axes ? plots[0] : null;
function drawValley() {
  const { widths, depths, columns, rows } = batch.axes;
  const empty = () => map.data[0].y.slice(1).map(() => map.data[0].x.slice(1).map(() => null));
  const z = empty(), text = empty();
  for (const [width, first, ...behind] of row.valley) {
    behind.forEach((thousandths, step) => {
      if (thousandths === null) return;
      const depth = first + step, [up, across] = [rows[depth], columns[width]];
      z[up][across] = Math.log10(Math.max(thousandths, 1) / 1000);
      text[up][across] = `<b>${widths[width]}×${depths[depth]}</b><br>${thousandths / 1000} nats behind the best`;
    });
  }
  const star = row.shape ?? [];
  Plotly.restyle(map, { z: [z], text: [text] }, [0]);
  Plotly.restyle(map, { x: [star.slice(0, 1)], y: [star.slice(1)] }, [1]);
}

// The layers of a picture, in its order: other machines, the range, the winners, the star.
function draw(plot, fact, range) {
  const known = (one) => one.rows.filter((it) => it.facts[fact][1] !== null);
  const x = (rows) => rows.map((it) => it.time_budget_s);
  const y = (rows) => rows.map((it) => it.facts[fact][1]);
  const hover = (one) => known(one).map((it) => (
    `<b>${plain(named(one))}, ${it.budget}</b><br>${it.facts[0][0]}: loss ${it.facts[1][0]}`));
  const apart = (values) => others().flatMap((one) => [...values(one), null]);
  const mine = known(curve), ranged = mine.filter((it) => it.ranges[range] !== null);
  const star = mine.filter((it) => it === row);
  Plotly.restyle(plot, {
    x: [apart((one) => x(known(one))), [...x(ranged), ...x(ranged).reverse()], x(mine), x(star)],
    y: [apart((one) => y(known(one))),
      [...ranged.map((it) => it.ranges[range + 1]), ...ranged.map((it) => it.ranges[range]).reverse()],
      y(mine), y(star)],
    hovertext: [apart(hover), null, hover(curve), null],
    hoverinfo: ["text", "skip", "text", "skip"],
  });
}

selects.forEach((select, pick) => select.addEventListener("change", () => {
  choose(pick, Number(select.value));
  at("note").textContent = "";
  show();
  writeHash();
}));
slider.addEventListener("input", () => {
  row = curve.rows[Number(slider.value)];
  wanted = row.time_budget_s;
  at("note").textContent = "";
  show();
  writeHash();
});
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => { readHash(); show(); });
readHash();
show();
