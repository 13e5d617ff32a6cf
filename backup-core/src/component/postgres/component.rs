//! A PostgreSQL server that is captured.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::capture::{self, Capture};
use super::ready::{ReadyPostgres, Wanted, look};
use super::{DatabaseFacts, directories, directory};
use crate::Result;
use crate::bundle::FORMAT_OF_MONEY;
use crate::bundle::manifest::postgres::{Server, number_chunks};
use crate::bundle::manifest::{Announced, Entry, Manifest};
use crate::component::{ByHand, Captured, Captures, Look, Named, Out, Ready, Said, Staying};
use crate::finding::Finding;
use crate::names::ComponentId;

/// A server, and what is wanted of it.
pub(crate) struct Postgres {
    id: ComponentId,
    wanted: Wanted,
}

impl Postgres {
    /// A server that is captured so.
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { id: ComponentId::fixed(ComponentId::POSTGRES), wanted }
    }
}

impl Named for Postgres {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        ComponentId::POSTGRES
    }
}

impl Captures for Postgres {
    fn check<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Box<dyn Ready>>> {
        async {
            let postgres = self::look(&self.wanted, look.context, look.findings).await?;
            Some(Box::new(ReadyServer { wanted: self.wanted.clone(), postgres }) as Box<dyn Ready>)
        }
        .boxed()
    }
}

struct ReadyServer {
    wanted: Wanted,
    postgres: ReadyPostgres,
}

impl Ready for ReadyServer {
    fn size(&self) -> u64 {
        self.postgres.databases.iter().map(|database| database.size).sum()
    }

    fn covers(&self) -> BoxFuture<'_, Vec<Staying>> {
        async { directories(&self.postgres.connection).await.unwrap_or_default() }.boxed()
    }

    fn needs(&self) -> Vec<Finding> {
        self.postgres.needs.clone()
    }

    fn by_hand(&self, _: &str) -> ByHand {
        let line = |facts: &DatabaseFacts| {
            let (directory, name) = (directory(&facts.name), facts.name.escape_debug());
            format!("    psql -X -d postgres -f 'databases/{directory}.sql'      # {name}\n")
        };
        let databases: String = self.postgres.databases.iter().map(line).collect();
        let version = &self.postgres.tools.version;
        let roles = "Create the roles of the databases, as a superuser (usually the user postgres). Existing roles stay unchanged.\n\
             A backup has no passwords, unless its settings asked for them. Set the passwords afterwards.\n\n    \
             psql -X -v ON_ERROR_STOP=1 -d postgres -f databases/globals.sql\n\n\
             If the source had tablespaces of its own, comments at the top of that file name them. Create those first.";
        let fill = format!(
            "Create and fill each database:\n\n{databases}\n\
             pg_dump was version {version}. The scripts need a psql of this version or a newer one,\n\
             in a minor release from August 2025 or later. An older psql stops at `\\restrict`.\n\
             For an older psql, delete the lines that begin with \\restrict and \\unrestrict from the files in databases/.\n\
             An interrupted script leaves a half-filled database. Drop that database, then run the script again."
        );
        ByHand { steps: vec![roles.into(), fill], ..ByHand::default() }
    }

    fn has_section(&self) -> bool {
        false
    }

    fn announce(&self, announced: &mut Announced) {
        let ReadyPostgres { server, tools, databases, .. } = &self.postgres;
        announced.source.postgres = Some(Server {
            version: server.version.clone(),
            version_number: server.number,
            pg_dump: tools.version.clone(),
            standby: server.standby,
            preload: server.preload.clone(),
        });
        announced.databases = databases.iter().map(|facts| facts.name.clone()).collect();
        if databases.iter().any(has_money_of_its_own) {
            announced.at_least(FORMAT_OF_MONEY);
        }
    }

    fn capture<'a>(self: Box<Self>, out: &'a Out) -> BoxFuture<'a, Result<Captured>> {
        async move { self.dump(out).await }.boxed()
    }
}

/// Whether it has amounts of money that readers of the first format would get wrong: they take them to be written as the server that
/// they restore into would write them.
fn has_money_of_its_own(facts: &DatabaseFacts) -> bool {
    let locale = facts.session.get("lc_monetary").map(String::as_str).unwrap_or_default();
    let alike = ["C", "POSIX"].contains(&locale) || ["C.", "en_US"].iter().any(|start| locale.starts_with(start));
    facts.money && !alike
}

impl ReadyServer {
    async fn dump(&self, out: &Out) -> Result<Captured> {
        let Self { wanted, postgres } = self;
        let what = Capture {
            parameters: &postgres.parameters,
            server: &postgres.server,
            tools: &postgres.tools,
            databases: &postgres.databases,
            named: !wanted.databases.is_empty(),
            jobs: wanted.jobs,
            role_passwords: wanted.role_passwords,
        };
        let captured = capture::capture(&what, &postgres.connection, out.writer(), &out.meter, &out.context).await?;
        let capture::Captured { databases, findings, halves } = captured;
        let said = move |manifest: &mut Manifest| {
            // What is there of a database that went away stays a file and is no chunk of any table.
            let half = |entry: &&mut Entry| halves.iter().any(|half| entry.path.starts_with(half));
            manifest.entries.iter_mut().filter(half).for_each(|entry| entry.chunk = None);
            number_chunks(&mut manifest.entries);
            manifest.databases = databases;
        };
        Ok(Captured { said: Said::Fields(Box::new(said)), findings })
    }
}
