//! The components that there are, and what each needs to stand before it.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::order::levels;
use super::place_of;
use crate::cluster::ClusterConf;
use crate::finding::Finding;
use crate::nearest::nearest;

/// Where a dependency is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The platform says so itself: it can't be deployed otherwise.
    Platform,
    /// What the components are for says so. Where the other one is there, it stands first.
    Purpose,
    /// The settings.
    Settings,
}

/// Something that a component needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The tag of the component that is needed.
    pub component: String,
    /// Where that is known from.
    pub source: Source,
}

/// Component, what it needs, and where that is known from.
///
/// The first row is the platform's own: it refuses a machine with `instance-manager` where none has `vault`. That the auth
/// server's data is in `component-database` is in its procedure for backups; so is that the message bus, `nats-server`, keeps
/// nothing and others speak over it. Other rows follow from what the components are for; they give an order, and demand nothing.
const NEEDS: [(&str, &[&str], Source); 18] = [
    ("instance-manager", &["vault"], Source::Platform),
    ("vault", &["kv-store"], Source::Purpose),
    ("auth-server", &["component-database", "nats-server", "vault"], Source::Purpose),
    ("flex-auth-server", &["auth-server"], Source::Purpose),
    ("api-server", &["component-database", "nats-server", "auth-server", "redis-server"], Source::Purpose),
    ("job-manager", &["component-database", "nats-server", "auth-server"], Source::Purpose),
    ("package-manager", &["component-database", "nats-server", "auth-server"], Source::Purpose),
    ("health-manager", &["nats-server", "job-manager"], Source::Purpose),
    ("metrics-manager", &["nats-server", "statsd-server"], Source::Purpose),
    ("statsd-server", &["graphite-server"], Source::Purpose),
    ("events-server", &["nats-server", "auditlog-database"], Source::Purpose),
    ("cluster-monitor", &["nats-server"], Source::Purpose),
    ("stagehand", &["api-server", "package-manager"], Source::Purpose),
    ("instance-manager", &["nats-server", "job-manager", "package-manager"], Source::Purpose),
    ("router", &["nats-server", "job-manager"], Source::Purpose),
    ("tcp-router", &["nats-server", "job-manager"], Source::Purpose),
    ("ip-manager", &["nats-server"], Source::Purpose),
    ("nfs-server", &["gluster-server"], Source::Purpose),
];

/// Tags that need nothing, or are no components: `monitored` marks machines that the monitoring watches.
const OTHERS: [&str; 10] = [
    "component-database",
    "auditlog-database",
    "nats-server",
    "redis-server",
    "graphite-server",
    "gluster-server",
    "kv-store",
    "monitoring",
    "monitored",
    "splunk-server",
];

/// What stands in the settings before a component that is not needed after all.
const NOT: char = '!';

/// Every component that is known, with what it needs.
#[derive(Debug, Clone)]
pub struct Components {
    needs: BTreeMap<String, BTreeSet<Need>>,
    /// Needs that the settings lift and nothing has: each a tag, and what it does not need anyway.
    idle: Vec<(String, String)>,
}

impl Default for Components {
    fn default() -> Self {
        Self::with(&BTreeMap::new())
    }
}

impl Components {
    /// The platform's, and `more`, which the settings add: tags, and what each needs. What begins with `!` it does not need, whoever
    /// says so.
    pub fn with(more: &BTreeMap<String, Vec<String>>) -> Self {
        let tags = OTHERS.iter().copied().chain(more.keys().map(String::as_str));
        let mut all: BTreeMap<String, BTreeSet<Need>> = tags.map(|tag| (tag.into(), BTreeSet::new())).collect();
        let mut add = |tag: &str, component: &str, source| {
            all.entry(tag.into()).or_default().insert(Need { component: component.into(), source });
        };
        for (tag, needs, source) in NEEDS {
            needs.iter().for_each(|need| add(tag, need, source));
        }
        let lifted = |need: &String| need.strip_prefix(NOT).map(|need| need.trim().to_owned());
        for (tag, needs) in more {
            needs.iter().filter(|need| lifted(need).is_none()).for_each(|need| add(tag, need, Source::Settings));
        }
        let mut idle = Vec::new();
        for (tag, component) in
            more.iter().flat_map(|(tag, needs)| needs.iter().filter_map(lifted).map(move |need| (tag, need)))
        {
            let of_tag = all.entry(tag.clone()).or_default();
            let before = of_tag.len();
            of_tag.retain(|need| need.component != component);
            if of_tag.len() == before {
                idle.push((tag.clone(), component));
            }
        }
        Self { needs: all, idle }
    }

    /// What a component needs.
    pub fn needs(&self, tag: &str) -> impl Iterator<Item = &Need> {
        self.needs.get(self.family(tag)).into_iter().flatten()
    }

    /// Whether there is such a component.
    pub fn knows(&self, tag: &str) -> bool {
        self.needs.contains_key(self.family(tag))
    }

    /// The known tag that looks most like one that isn't.
    pub(super) fn nearest(&self, tag: &str) -> Option<&str> {
        nearest(tag, self.needs.keys().map(String::as_str))
    }

    /// Each provider of logins has a server of its own kind, such as `google-auth-server`; they need what `flex-auth-server` does.
    fn family<'t>(&self, tag: &'t str) -> &'t str {
        if !self.needs.contains_key(tag) && tag.ends_with("-auth-server") { "flex-auth-server" } else { tag }
    }

    /// For each component of a cluster how many stand in a row before it.
    pub(super) fn levels<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> BTreeMap<&'t str, usize> {
        levels(&self.among(tags))
    }

    /// What must stand before what, among these tags.
    fn among<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> DiGraphMap<&'t str, ()> {
        let mut graph = DiGraphMap::new();
        tags.into_iter().for_each(|tag| {
            graph.add_node(tag);
        });
        let nodes: Vec<&str> = graph.nodes().collect();
        for tag in nodes {
            for need in self.needs(tag) {
                let other = graph.nodes().find(|other| *other == need.component);
                if let Some(other) = other {
                    graph.add_edge(other, tag, ());
                }
            }
        }
        graph
    }

    /// What the components of a cluster lack, and which of them need one another.
    pub(super) fn check(&self, cluster: &ClusterConf) -> Vec<Finding> {
        let there: Vec<&str> =
            cluster.components.iter().filter(|(_, count)| *count > 0).map(|(tag, _)| tag.as_str()).collect();
        let mut findings = Vec::new();
        for (tag, component) in &self.idle {
            let message = format!("[deploy.components] of the settings: {tag} does not need {component} anyway");
            let finding = Finding::error("need-unknown", "settings", message);
            let near = nearest(component, self.needs(tag).map(|need| need.component.as_str()));
            findings.push(match near {
                Some(near) => finding.hint(format!("did you mean {NOT}{near}?")),
                None => finding.hint(format!("take {NOT}{component} out")),
            });
        }
        for tag in &there {
            let missing = self.needs(tag).filter(|need| need.source != Source::Purpose);
            for need in missing.filter(|need| !there.contains(&need.component.as_str())) {
                let message =
                    format!("machine with {tag} tag cannot be deployed without a machine with {} tag", need.component);
                let hint = format!(
                    "add {0} to `components`; where the release does without it, write into [deploy.components] of the settings: \
                     {tag} = [\"{NOT}{0}\"]",
                    need.component
                );
                let place = place_of(cluster, &["components", tag]);
                findings.push(Finding::error("component-missing", place, message).hint(hint));
            }
        }
        let graph = self.among(there);
        for mut cycle in tarjan_scc(&graph) {
            if cycle.len() > 1 || graph.contains_edge(cycle[0], cycle[0]) {
                cycle.sort_unstable();
                let message = format!("components need one another: {}", cycle.join(", "));
                let place = place_of(cluster, &["components", cycle[0]]);
                findings.push(
                    Finding::error("component-cycle", place, message)
                        .hint("take one of them out of [deploy.components] in the settings"),
                );
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_an_order_and_every_need_is_a_component() {
        let components = Components::default();
        let tags: Vec<&str> = components.needs.keys().map(String::as_str).collect();
        assert!(petgraph::algo::toposort(&components.among(tags.iter().copied()), None).is_ok());
        let needs = components.needs.values().flatten();
        needs.for_each(|need| assert!(components.knows(&need.component), "{need:?}"));
        assert!(components.knows("google-auth-server") && !components.knows("api-sever"));
        assert_eq!(components.nearest("api-sever"), Some("api-server"));
    }

    #[test]
    fn the_settings_lift_a_need_and_a_slip_in_that_is_said() {
        let found = |conf: &str, lines: &[(&str, &[&str])]| {
            let more =
                lines.iter().map(|(tag, needs)| ((*tag).to_owned(), needs.iter().map(|need| (*need).into()).collect()));
            let findings = Components::with(&more.collect()).check(&ClusterConf::parse(conf).expect("a good file"));
            findings
                .into_iter()
                .map(|one| format!("{}: {}", one.code, one.hint.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let old = "components: { instance-manager: 1, nats-server: 1 }";
        let refused = found(old, &[]);
        assert!(refused.len() == 1 && refused[0].ends_with("instance-manager = [\"!vault\"]"), "{refused:?}");
        type Needs<'n> = &'n [(&'n str, &'n [&'n str])];
        let cases: [(Needs<'_>, &[&str]); 6] = [
            (&[("instance-manager", &["!vault"])], &[]),
            (&[("instance-manager", &["! vault"])], &[]),
            // It needs what the settings add all the same.
            (&[("instance-manager", &["!vault", "redis-server"])], &["component-missing"]),
            (&[("instance-manager", &["vault", "!vault"])], &[]),
            (&[("instance-manager", &["!valt"])], &["need-unknown: did you mean !vault?", "component-missing"]),
            (&[("instance-manager", &["!vault"]), ("router", &["!vault"])], &["need-unknown: take !vault out"]),
        ];
        for (lines, expected) in cases {
            let found = found(old, lines);
            let as_expected = found.iter().zip(expected).all(|(one, begin)| one.starts_with(begin));
            assert!(found.len() == expected.len() && as_expected, "{lines:?}: {found:?}");
        }
        // An order that only follows from the purpose can be lifted too.
        let more = [("router".to_owned(), vec!["!nats-server".to_owned()])].into();
        assert!(!Components::with(&more).needs("router").any(|need| need.component == "nats-server"));
    }
}
