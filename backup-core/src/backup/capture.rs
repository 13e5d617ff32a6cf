//! What goes into a bundle, in order: what tells a person how to read it, the control plane, databases, other components.

use std::sync::Arc;

use super::described::{Beginning, format, json, source};
use super::{Ready, ReadyComponent, Request, Settings};
use crate::bundle::manifest::Section;
use crate::bundle::pack::cores;
use crate::bundle::writer::Writer;
use crate::component::postgres::{self, Beside, Capture, Captured, Readme};
use crate::component::{self, Out, files};
use crate::event::Meter;
use crate::finding::Finding;
use crate::names::BundleName;
use crate::{Context, ErrorContext, Result, TOOL};

/// A capture at work.
pub(super) struct Capturing<'c> {
    pub(super) settings: &'c Settings,
    pub(super) request: &'c Request,
    pub(super) ready: &'c Ready,
    pub(super) name: &'c BundleName,
    pub(super) writer: &'c Writer,
    pub(super) meter: &'c Arc<Meter>,
    pub(super) context: &'c Context,
}

impl Capturing<'_> {
    /// Captures all, other components last.
    pub(super) async fn all(self, components: Vec<ReadyComponent>) -> Result<(Captured, Vec<Section>)> {
        let Self { settings, request, ready, writer, meter, context, .. } = self;
        self.describe(&components).await?;
        let mut warnings = Vec::new();
        if let Some(orchestrator) = &ready.orchestrator {
            writer.add("release.json", &json(&orchestrator.release)?).await?;
            writer.add("cluster.conf", &settings.cluster_conf_bytes).await?;
            warnings = files::capture(&settings.files, writer, context).await?;
        }
        let what = Capture {
            parameters: &ready.postgres.parameters,
            server: &ready.postgres.server,
            tools: &ready.postgres.tools,
            databases: &ready.postgres.databases,
            named: !request.databases.is_empty() || !settings.databases.is_empty(),
            jobs: request.jobs.or(settings.jobs).unwrap_or_else(cores),
            role_passwords: settings.role_passwords,
        };
        let mut captured = postgres::capture(&what, &ready.postgres.connection, writer, meter, context).await?;
        captured.findings.splice(..0, warnings);
        let mut sections = Vec::new();
        for component in components {
            let (section, found) = self.component(component).await?;
            captured.findings.extend(found);
            sections.push(section);
        }
        Ok((captured, sections))
    }

    /// README.txt and bundle.json.
    async fn describe(&self, components: &[ReadyComponent]) -> Result<()> {
        let Self { settings, request, ready, name, writer, context, .. } = *self;
        let databases = &ready.postgres.databases;
        let pairs: Vec<(String, String)> =
            databases.iter().map(|facts| (facts.name.clone(), postgres::directory(&facts.name))).collect();
        let others = components.iter().map(|component| component.ready.by_hand()).collect::<Vec<_>>();
        let readme = Readme {
            name: &name.to_string(),
            databases: &pairs,
            pg_dump: &ready.postgres.tools.version,
            beside: match &ready.orchestrator {
                None => Beside::Nothing,
                Some(_) if settings.files.is_empty() => Beside::Conf,
                Some(_) => Beside::ConfAndFiles,
            },
            others: &others,
        };
        writer.add("README.txt", readme.text().as_bytes()).await?;
        let beginning = Beginning {
            format: format(databases, !components.is_empty()),
            tool: TOOL,
            name: name.to_string(),
            created: name.time(),
            source: source(settings, request, ready, context),
            databases: databases.iter().map(|facts| facts.name.as_str()).collect(),
            components: components.iter().map(|component| component.id.as_str()).collect(),
        };
        writer.add("bundle.json", &json(&beginning)?).await
    }

    /// One component, below a directory of its own.
    async fn component(&self, ReadyComponent { id, kind, ready }: ReadyComponent) -> Result<(Section, Vec<Finding>)> {
        let doing = || format!("capture {id}");
        self.context.phase(doing());
        let root = Section::root_of(&id);
        let out = Out::new(self.writer.clone(), root, self.meter.clone(), self.context.clone());
        let captured = ready.capture(&out).await.context(doing)?;
        let component::Captured { version, as_of, items, body, findings } = captured;
        let section = Section { id, kind: kind.into(), version, as_of, items, body };
        // What no restore takes must not be called a backup.
        self.settings.components.kinds().named(kind)?.check_section(&section)?;
        Ok((section, findings))
    }
}
