//! A cluster that was just restored: real hosts in a network of their own, and this machine, which knows who they are.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use backup_core::bundle::manifest::control_plane::Host;
use backup_core::cluster::hosts::Record;
use fixtures::{Network, Postgres};

use crate::{Workplace, describe, inside};

/// The cluster. Its `cluster.conf` lies in the work place; commands run in its network.
pub struct Cluster {
    /// Its hosts.
    pub network: Network,
    /// Where commands run.
    pub place: Workplace,
    /// What is backed up.
    pub server: Postgres,
}

impl Cluster {
    /// Backs a server up that has `conf`, and restores it.
    pub fn restored(conf: &str, hosts: &[&str]) -> Self {
        let mut network = Network::default();
        network.hosts(hosts);
        let (server, place) = (Postgres::start(), Workplace::default());
        server.sql("postgres", "CREATE TABLE something ()");
        place.write("cluster.conf", conf);
        let cluster = Self { network, place, server };
        let backup =
            inside(&cluster.network, &cluster.place.backup(&cluster.server, &[]), true).output().expect("it runs");
        // A cluster without a name is warned of.
        assert!(matches!(backup.status.code(), Some(0 | 3)), "{}", describe(&backup));
        let bundle = cluster.place.bundles().pop().expect("a bundle").display().to_string();
        let restore = cluster.place.restore(&cluster.server, &["--release", "2.6.3", "--yes", "--file", &bundle]);
        let restore = inside(&cluster.network, &restore, true).output().expect("it runs");
        assert!(matches!(restore.status.code(), Some(0 | 3)), "{}", describe(&restore));
        cluster
    }

    /// One whose hosts are known without a restore.
    pub fn known(conf: &str, hosts: &[&str]) -> Self {
        let mut network = Network::default();
        network.hosts(hosts);
        let (server, place) = (Postgres::start(), Workplace::default());
        server.sql("postgres", "CREATE TABLE something ()");
        place.write("cluster.conf", conf);
        let host = |host: &&str| Host {
            host: (*host).into(),
            reachable: true,
            keys: vec![network.fingerprint(host)],
            agent: None,
        };
        let record = Record { bundle: String::new(), hosts: hosts.iter().map(host).collect(), ssh_port: None };
        std::fs::create_dir(place.path("state")).expect("a directory");
        place.write("state/hosts.json", serde_json::to_vec(&record).expect("JSON"));
        Self { network, place, server }
    }

    /// The command, with an agent that has the key which the hosts let in.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut run = self.place.cli(arguments);
        self.with_agent(run.envs(self.server.variables()))
    }

    /// Another program in the same place.
    pub fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", self.place.path("")).env("STATE_DIRECTORY", self.place.path("state"));
        self.with_agent(command.envs(self.server.variables()))
    }

    /// Runs the command to its end, without a terminal.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("it runs")
    }

    /// A command in the cluster's network, with an agent that has the key which the hosts let in.
    pub fn with_agent(&self, run: &Command) -> Command {
        let script =
            "eval $(ssh-agent) > /dev/null; ssh-add -q \"$0\"; \"$@\"; code=$?; ssh-agent -k > /dev/null; exit $code";
        let mut command = Command::new("bash");
        command.args(["-c", script]).arg(self.network.identity()).arg(run.get_program()).args(run.get_args());
        command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.place.path(""));
        inside(&self.network, &command, true)
    }
}
