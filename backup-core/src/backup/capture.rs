//! What goes into a bundle, in order: what tells a person how to read it, then one component after the other.

use std::sync::Arc;

use super::described::Beginning;
use super::readme::Readme;
use super::{ReadyComponent, Request, Settings};
use crate::bundle::manifest::{Announced, Manifest, Section};
use crate::bundle::writer::Writer;
use crate::component::{Captured, Fields, Out, Said};
use crate::event::Meter;
use crate::finding::Finding;
use crate::names::BundleName;
use crate::{Context, ErrorContext, Result};

/// A capture at work.
pub(super) struct Capturing<'c> {
    pub(super) settings: &'c Settings,
    pub(super) request: &'c Request,
    pub(super) name: &'c BundleName,
    pub(super) writer: &'c Writer,
    pub(super) meter: &'c Arc<Meter>,
    pub(super) context: &'c Context,
}

/// What was captured of all components.
#[derive(Default)]
pub(super) struct AllCaptured {
    sections: Vec<Section>,
    fields: Vec<Fields>,
    pub(super) findings: Vec<Finding>,
}

impl AllCaptured {
    /// Says it in the manifest, which has all entries by now.
    pub(super) fn say(self, manifest: &mut Manifest) {
        manifest.components = self.sections;
        self.fields.into_iter().for_each(|fields| fields(manifest));
    }
}

impl Capturing<'_> {
    /// Captures all.
    pub(super) async fn all(self, announced: &Announced, components: Vec<ReadyComponent>) -> Result<AllCaptured> {
        self.describe(announced, &components).await?;
        let mut all = AllCaptured::default();
        for component in components {
            self.one(component, &mut all).await?;
        }
        Ok(all)
    }

    /// README.txt and bundle.json.
    async fn describe(&self, announced: &Announced, components: &[ReadyComponent]) -> Result<()> {
        let name = self.name.to_string();
        let by_hand = components.iter().map(|component| component.ready.by_hand(&name)).collect();
        let of_component = !self.request.series.is_orchestrators();
        let readme = Readme { name: &name, by_hand, of_component };
        let out = self.below(String::new());
        out.add("README.txt", readme.text().as_bytes()).await?;
        out.add_json("bundle.json", &Beginning::of(self.name, announced)).await
    }

    /// Where entries below a directory go.
    fn below(&self, root: String) -> Out {
        Out::new(self.writer.clone(), root, self.meter.clone(), self.context.clone())
    }

    async fn one(&self, ReadyComponent { id, kind, ready }: ReadyComponent, all: &mut AllCaptured) -> Result<()> {
        let (doing, has_section) = (|| format!("capture {id}"), ready.has_section());
        let root = if has_section { Section::root_of(&id) } else { String::new() };
        // What has no section says itself which of its databases or files is at work, or has failed.
        if has_section {
            self.context.phase(doing());
        }
        let out = self.below(root);
        let captured = ready.capture(&out).await;
        let Captured { said, findings } = if has_section { captured.context(doing)? } else { captured? };
        all.findings.extend(findings);
        match said {
            Said::Fields(fields) => all.fields.push(fields),
            Said::Section { version, as_of, items, body } => {
                let section = Section { id, kind: kind.into(), version, as_of, items, body };
                // What no restore takes must not be called a backup.
                self.settings.components.kinds().named(kind)?.check_section(&section)?;
                all.sections.push(section);
            }
        }
        Ok(())
    }
}
