//! A cluster whose bundles go into a bucket, and every command that deals with them.

use std::process::Output;

use fixtures::Postgres;
use system_tests::{Workplace, another_second, assert_same, describe};

/// A cluster and its bucket, on whichever server.
pub struct Site<'s> {
    pub place: Workplace,
    address: String,
    environment: Vec<(&'static str, String)>,
    database: &'s Postgres,
}

impl<'s> Site<'s> {
    /// The environment says which server it is.
    pub fn new(bucket: &str, environment: Vec<(&'static str, String)>, database: &'s Postgres) -> Self {
        let (place, address) = (Workplace::default(), format!("s3://{bucket}"));
        let settings = "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[retention]\nlast = 1\n";
        place.write("o.toml", format!("{settings}[[stores]]\naddress = '{address}'\n"));
        Self { place, address, environment, database }
    }

    pub fn run(&self, line: &str) -> Output {
        let mut command = self.place.cli(&line.split(' ').collect::<Vec<_>>());
        command.envs(self.database.variables()).envs(self.environment.clone()).env("PATH", self.database.path());
        command.output().expect("it runs")
    }

    /// Runs something that must be done, warnings or not; gives what it prints.
    pub fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{line}: {}", describe(&output));
        describe(&output)
    }

    /// Runs every command; gives the bundle's name that is left.
    pub fn all_is_right(&self) -> String {
        let checked = self.done("check -c o.toml");
        assert!(checked.contains("can be written"), "{checked}");
        self.done("backup -c o.toml");
        self.done("ownership claim -c o.toml --yes");
        another_second();
        self.done("backup -c o.toml");
        self.done("prune -c o.toml --yes");
        let listed = String::from_utf8_lossy(&self.run("list -c o.toml --json").stdout).into_owned();
        let names: Vec<_> = listed.split('"').filter(|word| word.ends_with(".tgz")).collect();
        let [name] = names[..] else { panic!("one bundle is kept: {listed}") };
        let bundle = format!("{}/{name}", self.address);
        assert!(self.done(&format!("show {bundle}")).contains("orchestrator"));
        assert!(self.done(&format!("verify {bundle}")).contains("every byte is as it was written"));
        self.done(&format!("extract {bundle} cluster.conf --to out"));
        self.done(&format!("restore --dry-run --allow-old-clients --release 2.6.3 --file {bundle}"));
        self.done(&format!("drill {bundle} -c o.toml"));
        name.to_owned()
    }

    /// Restores it into a server of its own, where all must be as it was.
    #[allow(dead_code, reason = "one of two tests alone restores")]
    pub fn is_restored(&self, name: &str) {
        let target = Postgres::start();
        let bundle = format!("{}/{name}", self.address);
        let mut restore = self.place.restore(&target, &["--release", "2.6.3", "--yes", "--file", &bundle]);
        let restored = restore.envs(self.environment.clone()).output().expect("it runs");
        assert!(matches!(restored.status.code(), Some(0 | 3)), "{}", describe(&restored));
        assert_same(self.database, &target, "orchestrator");
    }
}
