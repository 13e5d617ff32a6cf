//! DOT, the language of Graphviz: every machine, and every edge.

use std::fmt::Write;

use super::Subject;
use crate::human::plain;

pub(super) fn draw(subject: &Subject<'_>) -> String {
    let graph = subject.graph;
    let mut text = String::from("digraph deploy {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
    for (number, level) in graph.levels.iter().enumerate() {
        let _ = writeln!(text, "  subgraph level_{} {{\n    rank=same;", number + 1);
        for index in level {
            let machine = &graph.machines[*index];
            let down = subject.down.contains(&machine.host);
            let label = format!("{}\n{}\n{}", machine.host, machine.zone, machine.components.join("\n"));
            let color = if down { ", color=red, tooltip=\"no answer\"" } else { "" };
            let _ = writeln!(text, "    {} [label={}{color}];", quoted(&machine.host), quoted(label.trim_end()));
        }
        text.push_str("  }\n");
    }
    for (before, after) in graph.edges() {
        let name = |index: usize| quoted(&graph.machines[index].host);
        let _ = writeln!(text, "  {} -> {};", name(before), name(after));
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
