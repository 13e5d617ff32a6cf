//! Servers that are not Amazon's: everything comes out right there, or they are refused before anything is sent, with what they lack.

use std::collections::BTreeSet;
use std::process::Output;

use fixtures::Postgres;
use fixtures::s3::{BUCKET, Odd, S3Server, odd_servers};
use system_tests::{Workplace, another_second, describe};

/// The trial's bytes are fewer, and a bundle's are more.
const FEW: u64 = 1024;

/// A cluster whose bundles go into one of the servers.
struct Site<'s> {
    place: Workplace,
    s3: S3Server,
    database: &'s Postgres,
}

impl<'s> Site<'s> {
    fn on(odd: &Odd, database: &'s Postgres) -> Self {
        let place = Workplace::default();
        let settings = "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\naddress = 's3://vault'\n";
        place.write("o.toml", format!("{settings}[retention]\nlast = 1\n"));
        Self { place, s3: S3Server::with(odd.abilities), database }
    }

    fn run(&self, line: &str) -> Output {
        let mut command = self.place.cli(&line.split(' ').collect::<Vec<_>>());
        command.envs(self.database.variables()).envs(self.s3.environment()).env("PATH", self.database.path());
        command.output().expect("it runs")
    }

    /// Runs something that must be done, warnings or not; gives what it prints.
    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{line}: {}", describe(&output));
        describe(&output)
    }

    fn bundles(&self) -> BTreeSet<String> {
        self.s3
            .files()
            .into_iter()
            .filter(|file| file.ends_with(".tgz") && file.contains("orchestrator_backup"))
            .collect()
    }

    /// What was left of what was tried.
    fn trials(&self) -> Vec<String> {
        self.s3.files().into_iter().filter(|file| file.contains("trial") || file.contains(".part-")).collect()
    }
}

#[test]
fn on_every_odd_server_all_is_right_or_nothing_is_sent() {
    let database = Postgres::start();
    database.load_sample(20);
    let servers = odd_servers();
    std::thread::scope(|scope| {
        for odd in &servers {
            let database = &database;
            let run = move || match odd.lacks {
                None => all_is_right(odd, database),
                Some(words) => is_refused(odd, words, database),
            };
            std::thread::Builder::new().name(odd.name.into()).spawn_scoped(scope, run).expect("a thread");
        }
    });
}

fn all_is_right(odd: &Odd, database: &Postgres) {
    let site = Site::on(odd, database);
    let checked = site.done("check -c o.toml");
    assert!(site.trials().is_empty(), "{:?}", site.trials());
    assert!(checked.contains("can be written"), "{checked}");
    site.done("backup -c o.toml");
    site.done("ownership claim -c o.toml --yes");
    another_second();
    site.done("backup -c o.toml");
    site.done("prune -c o.toml --yes");
    let bundles = site.bundles();
    assert_eq!(bundles.len(), 1, "{bundles:?}");
    let bundle = bundles.first().and_then(|path| path.rsplit('/').next()).expect("a name");
    assert!(site.s3.objects().join(format!("{bundle}.sha256")).exists(), "{:?}", site.s3.files());
    let bundle = format!("s3://{BUCKET}/{bundle}");
    assert!(site.done("list -c o.toml").contains("example"));
    assert!(site.done(&format!("show {bundle}")).contains("orchestrator"));
    assert!(site.done(&format!("verify {bundle}")).contains("every byte is as it was written"));
    site.done(&format!("extract {bundle} cluster.conf --to out"));
    site.done(&format!("restore --dry-run --allow-old-clients --release 2.6.3 --file {bundle}"));
    site.done(&format!("drill {bundle} -c o.toml"));
    // Without a list of uploads nobody sees what is left.
    let cleaned = describe(&site.run("cleanup -c o.toml --older-than 0 --yes"));
    assert!(
        cleaned.contains("nothing was left") || !odd.abilities.lists_uploads && cleaned.contains("501"),
        "{cleaned}"
    );
    assert!(site.trials().is_empty(), "{:?}", site.trials());
    let encodings = site.s3.was_sent().1;
    assert!(encodings.is_empty(), "what is sent is as it is: {encodings:?}");
}

fn is_refused(odd: &Odd, words: &str, database: &Postgres) {
    let site = Site::on(odd, database);
    for line in ["check -c o.toml", "backup -c o.toml", "backup -c o.toml --json"] {
        let output = site.run(line);
        let all = describe(&output);
        assert!(!matches!(output.status.code(), Some(0 | 3)) && all.contains(words), "{line}: {all}");
    }
    // A claim needs less, and may be had where a bundle can't.
    let claimed = site.run("ownership claim -c o.toml --yes");
    let all = describe(&claimed);
    assert!(matches!(claimed.status.code(), Some(0 | 3)) || all.contains(words), "{all}");
    let (sent, _) = site.s3.was_sent();
    assert!(site.bundles().is_empty() && sent < 5 * FEW, "{sent} bytes, {:?}", site.s3.files());
}
