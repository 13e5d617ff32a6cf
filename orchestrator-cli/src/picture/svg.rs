//! The picture as SVG.

use std::fmt::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Subject;
use super::cards::{Card, cards};
use super::layout::{Layout, Rectangle, layout};
use crate::human::{counted, plain};

/// The font of all labels. Every letter of it has the same width.
pub(super) const FONT: &str = "DejaVu Sans Mono";
/// Width of a letter of size 1.
const LETTER: f64 = 0.602;
const MARGIN: f64 = 32.0;
/// Room above the columns for the title and the levels' names.
const HEAD: f64 = 104.0;
// Sizes of letters: the title, names of levels and zones, components, hosts.
const TITLE: f64 = 20.0;
const NAME: f64 = 13.0;
const TAG: f64 = 12.0;
const HOST: f64 = 11.0;
const LINE: f64 = 17.0;
const PADDING: f64 = 12.0;
/// Room above the first component of a card, for the zone's name.
const ZONE: f64 = 32.0;
/// Hosts below one another, before another column of them begins.
const ROWS: usize = 20;
const INK: &str = "#1f2933";
const FAINT: &str = "#66727f";
const RED: &str = "#c0262d";
/// Colours of zones, which go round: the border, and the card's head.
const ZONES: [(&str, &str); 8] = [
    ("#2f6fb3", "#e3eefa"),
    ("#2e8558", "#e0f3e8"),
    ("#a3611a", "#fbeedd"),
    ("#7a4bb0", "#efe6fa"),
    ("#177e89", "#ddf3f5"),
    ("#b0446b", "#fbe5ed"),
    ("#5f6b1f", "#f1f4d9"),
    ("#52606d", "#e9edf1"),
];

/// Draws the picture. `alone` puts the font into it, so that it looks the same everywhere.
pub(super) fn draw(subject: &Subject<'_>, alone: bool) -> String {
    let (cards, links) = cards(subject);
    let sizes: Vec<(usize, f64, f64)> = cards.iter().map(size).collect();
    let layout = layout(&sizes, &links);
    let head = heading(subject);
    let wide = head.iter().map(|(text, size)| width(text, *size)).fold(layout.width, f64::max) + 2.0 * MARGIN;
    let high = layout.height + HEAD + MARGIN + if subject.down.is_empty() { 0.0 } else { 28.0 };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide:.0}\" height=\"{high:.0}\" viewBox=\"0 0 {wide:.0} {high:.0}\" \
         font-family=\"'{FONT}', monospace\">\n<title>{}</title>\n",
        escaped(&head[0].0)
    );
    if alone {
        let font = BASE64_STANDARD.encode(dejavu::sans_mono::regular());
        let _ = writeln!(
            svg,
            "<style>@font-face {{ font-family: '{FONT}'; src: url(data:font/ttf;base64,{font}); }}</style>"
        );
    }
    svg.push_str(
        "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\" markerUnits=\"userSpaceOnUse\"><path d=\"M0,0.5 L8,4 L0,7.5 z\" fill=\"#7b8794\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
    );
    let bold = "font-weight=\"bold\"";
    label(&mut svg, (MARGIN, 46.0), (TITLE, INK, bold), &head[0].0);
    label(&mut svg, (MARGIN, 68.0), (TAG, FAINT, ""), &head[1].0);
    let _ = writeln!(svg, "<g transform=\"translate({MARGIN} {HEAD})\">");
    for (number, (x, _)) in layout.columns.iter().enumerate() {
        label(&mut svg, (*x, -10.0), (NAME, FAINT, bold), &format!("level {}", number + 1));
    }
    draw_links(&mut svg, &layout);
    let zones: Vec<&str> = zones(subject);
    for (card, place) in cards.iter().zip(&layout.cards) {
        let zone = zones.iter().position(|zone| *zone == card.zone).unwrap_or(0);
        draw_card(&mut svg, card, place, ZONES[zone % ZONES.len()]);
    }
    if !subject.down.is_empty() {
        label(&mut svg, (0.0, layout.height + 30.0), (TAG, RED, ""), "× in red: no answer");
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// The title and what stands below it, with the sizes of their letters.
fn heading(subject: &Subject<'_>) -> [(String, f64); 2] {
    let graph = subject.graph;
    let number = |count: usize, noun| counted(count as u64, noun);
    let mut parts: Vec<String> = subject.release.map(|release| format!("release {release}")).into_iter().collect();
    parts.push(format!("{} in {}", number(graph.machines.len(), "machine"), number(zones(subject).len(), "zone")));
    parts.push(number(graph.levels.len(), "level"));
    match subject.down.len() {
        0 => {}
        1 => parts.push("1 does not answer".into()),
        some => parts.push(format!("{some} do not answer")),
    }
    [(format!("Deploy of {}", subject.cluster), TITLE), (parts.join(" · "), TAG)]
}

/// Zones in the order of the file.
fn zones<'g>(subject: &Subject<'g>) -> Vec<&'g str> {
    let mut zones: Vec<&str> = Vec::new();
    for machine in &subject.graph.machines {
        if !zones.contains(&machine.zone.as_str()) {
            zones.push(&machine.zone);
        }
    }
    zones
}

/// Column, width and height of a card.
fn size(card: &Card) -> (usize, f64, f64) {
    let widest = |texts: &[String], size: f64| texts.iter().map(|text| width(text, size)).fold(0.0, f64::max);
    let tags = widest(&card.components, TAG);
    let hosts: Vec<String> = card.hosts.iter().map(shown).collect();
    let columns = hosts.len().div_ceil(ROWS);
    let grid = columns as f64 * (widest(&hosts, HOST) + PADDING) - PADDING;
    let zone = width(&card.zone, NAME) + width(&machines(card), HOST) + 2.0 * PADDING;
    let wide = tags.max(grid).max(zone) + 2.0 * PADDING;
    let rows = hosts.len().min(ROWS);
    (card.level, wide, ZONE + (card.components.len() + rows) as f64 * LINE + 20.0)
}

fn machines(card: &Card) -> String {
    counted(card.hosts.len() as u64, "machine")
}

/// A host as it is shown.
fn shown((host, answers): &(String, bool)) -> String {
    if *answers { host.clone() } else { format!("× {host}") }
}

fn draw_card(svg: &mut String, card: &Card, place: &Rectangle, (border, head): (&str, &str)) {
    let Rectangle { x, y, width: wide, height } = *place;
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{height:.1}\" rx=\"7\" fill=\"#ffffff\"/>\
         <path d=\"M{x:.1},{:.1} v-18 a7,7 0 0 1 7,-7 h{:.1} a7,7 0 0 1 7,7 v18 z\" fill=\"{head}\"/>\
         <rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{height:.1}\" rx=\"7\" fill=\"none\" stroke=\"{border}\" \
         stroke-width=\"1.3\"/>",
        y + 25.0,
        wide - 14.0
    );
    label(svg, (x + PADDING, y + 17.0), (NAME, border, "font-weight=\"bold\""), &card.zone);
    label(svg, (x + wide - PADDING, y + 17.0), (HOST, border, "text-anchor=\"end\""), &machines(card));
    let mut line = y + ZONE + LINE - 4.0;
    for tag in &card.components {
        label(svg, (x + PADDING, line), (TAG, INK, ""), tag);
        line += LINE;
    }
    let rule = line - LINE + 10.0;
    if !card.components.is_empty() {
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1},{rule:.1} h{:.1}\" stroke=\"{head}\" stroke-width=\"2\"/>",
            x + PADDING,
            wide - 2.0 * PADDING
        );
    }
    let step = card.hosts.iter().map(|host| width(&shown(host), HOST)).fold(0.0, f64::max) + PADDING;
    for (index, host) in card.hosts.iter().enumerate() {
        let at = (x + PADDING + (index / ROWS) as f64 * step, line + 9.0 + (index % ROWS) as f64 * LINE);
        label(svg, at, (HOST, if host.1 { FAINT } else { RED }, ""), &shown(host));
    }
}

/// Links are curves from column to column, straight where they pass one.
fn draw_links(svg: &mut String, layout: &Layout) {
    for points in &layout.links {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = match index.checked_sub(1).map(|before| points[before]) {
                None => write!(path, "M{x:.1},{y:.1}"),
                // From the right side of a column to the left one of the next.
                Some((from, height)) if index % 2 == 1 => {
                    let half = (x - from) / 2.0;
                    write!(path, " C{:.1},{height:.1} {:.1},{y:.1} {x:.1},{y:.1}", from + half, x - half)
                }
                Some(_) => write!(path, " L{x:.1},{y:.1}"),
            };
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"#7b8794\" stroke-width=\"1.4\" marker-end=\"url(#arrow)\"/>"
        );
    }
}

fn label(svg: &mut String, (x, y): (f64, f64), (size, color, more): (f64, &str, &str), text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{color}\" {more}>{}</text>",
        escaped(text)
    );
}

fn width(text: &str, size: f64) -> f64 {
    plain(text).chars().count() as f64 * LETTER * size
}

/// A text in XML, which has no way to write control characters.
fn escaped(text: &str) -> String {
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', " ")
}
