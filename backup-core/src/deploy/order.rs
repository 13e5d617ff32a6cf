//! Which machine must be deployed before which.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graphmap::{DiGraphMap, NodeTrait};
use serde::{Deserialize, Serialize};

use super::{Components, Machine};

/// Machines in levels: those of one level can be deployed at once, after those of all levels before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Graph {
    /// The machines, in the order of `cluster.conf`.
    pub machines: Vec<Machine>,
    /// What each machine needs of others.
    pub requirements: Vec<Requirement>,
    /// Their indices, level by level.
    pub levels: Vec<Vec<usize>>,
}

/// A component on a machine that needs another one, which stands on other machines alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The machine's index.
    pub machine: usize,
    /// Its component.
    pub component: String,
    /// What that needs.
    pub needs: String,
    /// Indices of the machines that have it and are deployed before.
    pub on: Vec<usize>,
}

impl Graph {
    /// Orders machines by what their components need.
    ///
    /// What a machine has itself it needs of no other. Where machines need one another, which is common where each has
    /// several components, those go first whose first component comes first.
    pub(super) fn new(machines: Vec<Machine>, components: &Components) -> Self {
        let wanted = requirements(&machines, components);
        let mut graph: DiGraphMap<usize, ()> = DiGraphMap::new();
        (0..machines.len()).for_each(|machine| {
            graph.add_node(machine);
        });
        for requirement in &wanted {
            requirement.on.iter().for_each(|before| {
                graph.add_edge(*before, requirement.machine, ());
            });
        }
        let tangles = tangles(&graph);
        let first = first(&machines, components);
        let requirements = wanted.into_iter().filter_map(|mut requirement| {
            let machine = requirement.machine;
            requirement.on.retain(|before| tangles[before] != tangles[&machine] || first[*before] < first[machine]);
            (!requirement.on.is_empty()).then_some(requirement)
        });
        let mut graph = Self { requirements: requirements.collect(), machines, levels: Vec::new() };
        graph.levels = graph.in_levels();
        graph
    }

    /// Every machine with those that must be deployed before it, each pair once.
    pub fn edges(&self) -> BTreeSet<(usize, usize)> {
        let edges = self.requirements.iter();
        edges.flat_map(|requirement| requirement.on.iter().map(|before| (*before, requirement.machine))).collect()
    }

    fn in_levels(&self) -> Vec<Vec<usize>> {
        let mut graph: DiGraphMap<usize, ()> = DiGraphMap::from_edges(self.edges());
        (0..self.machines.len()).for_each(|machine| {
            graph.add_node(machine);
        });
        // What is left has an order: within a tangle every edge leads to a machine that comes later.
        let levels = levels(&graph);
        let count = levels.values().max().map_or(0, |last| last + 1);
        let of = |wanted| levels.iter().filter(move |(_, level)| **level == wanted).map(|(machine, _)| *machine);
        (0..count).map(|level| of(level).collect()).collect()
    }
}

/// For each node how many stand in a row before it; 0 for all where some need one another.
pub(super) fn levels<N: NodeTrait>(graph: &DiGraphMap<N, ()>) -> BTreeMap<N, usize> {
    let mut levels: BTreeMap<N, usize> = graph.nodes().map(|node| (node, 0)).collect();
    for node in toposort(graph, None).unwrap_or_default() {
        let level = graph.neighbors_directed(node, petgraph::Incoming).map(|before| levels[&before] + 1).max();
        levels.insert(node, level.unwrap_or(0));
    }
    levels
}

fn requirements(machines: &[Machine], components: &Components) -> Vec<Requirement> {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, machine) in machines.iter().enumerate() {
        machine.components.iter().for_each(|tag| places.entry(tag).or_default().push(index));
    }
    let of = |(index, machine): (usize, &Machine)| {
        let pairs = machine.components.iter().flat_map(|tag| components.needs(tag).map(move |need| (tag, need)));
        let others = pairs.filter(|(_, need)| !machine.components.contains(&need.component));
        let all = others.filter_map(|(tag, need)| {
            let on = places.get(need.component.as_str())?.clone();
            Some(Requirement { machine: index, component: tag.clone(), needs: need.component.clone(), on })
        });
        let mut all: Vec<Requirement> = all.collect();
        all.sort();
        all
    };
    machines.iter().enumerate().flat_map(of).collect()
}

/// For each machine the number of the tangle that it is in: machines that need one another.
fn tangles(graph: &DiGraphMap<usize, ()>) -> BTreeMap<usize, usize> {
    let tangles = tarjan_scc(graph);
    tangles.iter().enumerate().flat_map(|(tangle, of)| of.iter().map(move |machine| (*machine, tangle))).collect()
}

/// For each machine the level of the component on it that comes first.
fn first(machines: &[Machine], components: &Components) -> Vec<usize> {
    let levels = components.levels(machines.iter().flat_map(|machine| &machine.components).map(String::as_str));
    let of = |machine: &Machine| machine.components.iter().map(|tag| levels[tag.as_str()]).min().unwrap_or(0);
    machines.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn machines(on: &[&[&str]]) -> Vec<Machine> {
        let machine = |(index, tags): (usize, &&[&str])| Machine {
            host: format!("10.0.0.{index}"),
            zone: "central".into(),
            components: tags.iter().map(|tag| (*tag).into()).collect(),
        };
        on.iter().enumerate().map(machine).collect()
    }

    fn ordered(on: &[&[&str]]) -> Vec<Vec<usize>> {
        Graph::new(machines(on), &Components::default()).levels
    }

    #[test]
    fn what_is_needed_stands_first() {
        assert_eq!(ordered(&[&["instance-manager"], &["vault"], &["kv-store"], &[]]), [vec![2, 3], vec![1], vec![0]]);
        // At home is enough.
        assert_eq!(ordered(&[&["instance-manager", "vault"], &["vault"]]), [vec![0, 1]]);
    }

    #[test]
    fn of_machines_that_need_one_another_the_one_with_the_first_component_goes_first() {
        let on: [&[&str]; 2] = [&["nats-server", "instance-manager"], &["package-manager", "api-server"]];
        assert_eq!(ordered(&on), [vec![0], vec![1]]);
    }

    proptest! {
        #[test]
        fn every_machine_stands_in_one_level_after_all_that_it_needs(
            on in prop::collection::vec(prop::collection::vec(0usize..20, 0..5), 0..12)
        ) {
            let components = Components::default();
            let tags = ["vault", "kv-store", "nats-server", "api-server", "router", "job-manager", "auth-server",
                "instance-manager", "stagehand", "package-manager", "component-database", "redis-server", "ip-manager",
                "events-server", "auditlog-database", "statsd-server", "graphite-server", "health-manager", "tcp-router",
                "google-auth-server"];
            let named: Vec<Vec<&str>> = on.iter().map(|of| of.iter().map(|at| tags[*at]).collect()).collect();
            let slices: Vec<&[&str]> = named.iter().map(Vec::as_slice).collect();
            let graph = Graph::new(machines(&slices), &components);
            let level = |machine: usize| graph.levels.iter().position(|level| level.contains(&machine));
            prop_assert_eq!(graph.levels.iter().map(Vec::len).sum::<usize>(), on.len());
            for (before, after) in graph.edges() {
                prop_assert!(level(before) < level(after));
            }
        }
    }
}
