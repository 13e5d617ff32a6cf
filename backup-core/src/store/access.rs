//! How bundles are reached, wherever they are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::limited::limited;
use super::{Address, Connector, Rate, Store, StoreSettings};
use crate::bundle::reader::{Bundle, OpenBundle, ReadAt};
use crate::encryption::{Decrypted, Identities, is_encrypted};
use crate::given::open_bundle;
use crate::names::FileName;
use crate::signing::Signing;
use crate::{Context, Error, ErrorContext, Kind, Result, shell};

/// What the settings say of stores, for addresses that a command is given.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Stores that are known.
    pub stores: Vec<StoreSettings>,
    /// Files of identities that open encrypted bundles.
    pub identities: Vec<PathBuf>,
    /// Whose signatures are trusted, and who signs.
    pub signing: Signing,
    /// The kinds of stores that there are.
    pub connector: Connector,
    /// How fast every store may be read and written, whatever the settings say of it.
    pub limit_rate: Option<Rate>,
}

impl Access {
    /// A store at any address, used as the settings say of the nearest one they know.
    pub fn settings(&self, address: Address) -> StoreSettings {
        let known = self.stores.iter().filter_map(|store| Some((store.nearness(&address)?, store)));
        let store = match known.max_by_key(|(nearness, _)| *nearness) {
            Some((_, known)) => StoreSettings { address, ..known.clone() },
            None => StoreSettings::new(address),
        };
        self.limited(store)
    }

    /// The same, with every store at this rate, if one is given.
    #[must_use]
    pub fn at_rate(self, rate: Option<Rate>) -> Self {
        Self { limit_rate: rate.or(self.limit_rate), ..self }
    }

    /// A store at the rate that counts for every one, if one does.
    pub(crate) fn limited(&self, store: StoreSettings) -> StoreSettings {
        StoreSettings { limit_rate: self.limit_rate.or(store.limit_rate), ..store }
    }

    /// Connects to the store at an address.
    ///
    /// # Errors
    /// Where the settings make no sense.
    pub fn store(&self, address: Address, context: &Context) -> Result<Arc<dyn Store>> {
        self.connector.connect(&self.settings(address), context)
    }

    /// Connects to all stores that are known, and to those `first`, each once.
    ///
    /// # Errors
    /// Where the settings make no sense.
    pub fn connect_all(
        &self,
        first: impl IntoIterator<Item = Arc<dyn Store>>,
        context: &Context,
    ) -> Result<Vec<Arc<dyn Store>>> {
        let known = self.stores.iter().map(|known| self.connector.connect(&self.limited(known.clone()), context));
        let mut stores = first.into_iter().map(Ok).chain(known).collect::<Result<Vec<_>>>()?;
        let mut seen = HashSet::new();
        stores.retain(|store| seen.insert(store.location()));
        Ok(stores)
    }

    /// The store that keeps a bundle, and the name of its file there; none for a file that isn't called as bundles are.
    ///
    /// # Errors
    /// As [`Access::store`].
    pub fn place(&self, bundle: &Path, context: &Context) -> Result<Option<(Arc<dyn Store>, FileName)>> {
        if let Some((address, name)) = Address::of_bundle(bundle)? {
            return Ok(Some((self.store(address, context)?, name)));
        }
        let Some(name) = bundle.file_name().and_then(|name| name.to_str()?.parse().ok()) else { return Ok(None) };
        Ok(Some((self.store(Address::Directory(directory_of(bundle).into()), context)?, name)))
    }

    /// Opens a bundle by its file or its address.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where it does not exist, [`Kind::Damaged`] where it is no bundle.
    pub async fn open(&self, bundle: &Path, context: &Context) -> Result<OpenBundle> {
        let (access, bundle, context) = (self.clone(), bundle.to_owned(), context.clone());
        blocking(move || {
            let source = access.bytes(&bundle, &context)?;
            Bundle::open(source).context(|| format!("open {}", bundle.display()))
        })
        .await
    }

    /// Opens a bundle's bytes as they were before any encryption. It blocks.
    ///
    /// # Errors
    /// As [`Access::open`], and where no identity opens it.
    pub fn bytes(&self, bundle: &Path, context: &Context) -> Result<Box<dyn ReadAt>> {
        let (source, encrypted) = self.stored(bundle, context)?;
        if !encrypted {
            return Ok(source);
        }
        let opened = Decrypted::open(source, Identities::read(&self.identities)?);
        Ok(Box::new(opened.context(|| format!("open {}", bundle.display()))?))
    }

    /// Opens a bundle's bytes as they are stored, and says whether they are encrypted. It blocks.
    ///
    /// # Errors
    /// As [`Access::open`].
    pub(crate) fn stored(&self, bundle: &Path, context: &Context) -> Result<(Box<dyn ReadAt>, bool)> {
        match Address::of_bundle(bundle)? {
            // A file may have been given any name.
            None => {
                let file = open_bundle(bundle).map_err(|error| missing(bundle, error))?;
                let encrypted = is_encrypted(&file);
                let rate = self.settings(Address::Directory(directory_of(bundle).into())).limit_rate;
                Ok((limited(file, rate), encrypted))
            }
            Some((address, name)) => {
                let opened = self.store(address, context)?.open(&name);
                Ok((opened.map_err(|error| missing(bundle, error))?, name.encrypted))
            }
        }
    }
}

/// The directory that a bundle lies in.
fn directory_of(bundle: &Path) -> &Path {
    bundle.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// These stores but for some by their location.
///
/// # Errors
/// [`Kind::Usage`] where there is none of that location.
pub fn leave_out(mut stores: Vec<Arc<dyn Store>>, without: &[String]) -> Result<Vec<Arc<dyn Store>>> {
    let places: Vec<String> = stores.iter().map(|store| store.location()).collect();
    if let Some(stranger) = without.iter().find(|name| !places.contains(name)) {
        let error = Error::new(Kind::Usage, format!("--without-store {stranger}: there is no such store"));
        return Err(error.hint(format!("the stores are {}", places.join(", "))));
    }
    stores.retain(|store| !without.contains(&store.location()));
    Ok(stores)
}

/// An error that says where bundles are to be seen, where there is none by this name and nothing like it.
fn missing(bundle: &Path, error: Error) -> Error {
    if error.kind() != Kind::NotFound || error.first_hint().is_some() {
        return error;
    }
    error.hint(format!("{} shows the bundles that there are", list_beside(bundle)))
}

/// The command, between backticks, that lists the bundles where one is or should be; those of the settings' stores where it is named
/// alone.
pub fn list_beside(bundle: &Path) -> String {
    let text = bundle.to_str().unwrap_or_default();
    // A remote of rclone may have bundles right below its colon.
    let at_root = text.rfind(':').filter(|_| Address::is_remote(text) && !text.contains('/'));
    let place = at_root.map(|at| &text[..=at]).or_else(|| text.rsplit_once('/').map(|(place, _)| place)).unwrap_or("");
    let known = Address::is_remote(place) || Path::new(place).is_dir();
    if known { format!("`list {}`", shell::word(place)) } else { "`list`".into() }
}

/// Opens a bundle of a store, unless it is encrypted and nobody is here to read it.
pub(crate) fn open_stored(store: &dyn Store, identities: &Identities, name: &FileName) -> Result<Option<OpenBundle>> {
    bytes_stored(store, identities, name)?.map(Bundle::open).transpose()
}

/// The bytes of a bundle of a store as they were before any encryption; none if nobody is here to read them.
pub(crate) fn bytes_stored(
    store: &dyn Store,
    identities: &Identities,
    name: &FileName,
) -> Result<Option<Box<dyn ReadAt>>> {
    if name.encrypted && identities.is_empty() {
        return Ok(None);
    }
    let source = store.open(name)?;
    Ok(Some(if name.encrypted { Box::new(Decrypted::open(source, identities.clone())?) } else { source }))
}

/// Runs what blocks where it may.
///
/// # Errors
/// What `work` returns.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|cause| Error::new(Kind::Failed, "use a store").because(cause))?
}
