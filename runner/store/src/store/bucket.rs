//! Buckets of object stores: S3, Google Cloud Storage, Azure Blob Storage.

use darwinlm_task::ENV_CA_BUNDLE;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Certificate, ClientOptions, ObjectStore};
use url::Url;

use crate::StoreError;

/// A name and a value, as in the environment of a process.
pub type Variable = (String, String);

/// A request that says nothing for so long is tried again; how long a file takes as a whole is not
/// limited, for some are many gigabytes.
const SILENCE: &str = "60 seconds";
/// More than any file takes, since the limit cannot be lifted: a day.
const LONGEST: &str = "86400 seconds";

/// A store out of a builder; what is no option of this kind of store is for somebody else.
macro_rules! built {
    ($builder:ty, $root:expr, $client:expr, $options:expr) => {{
        let new = <$builder>::new()
            .with_url($root)
            .with_client_options($client);
        let set = |builder: $builder, (key, value): Variable| match key.parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        };
        let built = $options.into_iter().fold(new, set).build();
        built.map(|store| Box::new(store) as Box<dyn ObjectStore>)
    }};
}

/// A bucket and the prefix of all its keys.
#[derive(Debug)]
pub(super) struct Bucket {
    root: Url,
    prefix: Path,
    family: &'static str,
}

impl Bucket {
    /// Reads `scheme://bucket/prefix`; the prefix is taken as it stands, with nothing escaped.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let family = match scheme {
            "s3" => "AWS_",
            "gs" => "GOOGLE_",
            _ => "AZURE_",
        };
        if name.is_empty() || name.contains(['@', ':', '?', '#']) {
            return Err("it names no bucket".to_owned());
        }
        let root = format!("{scheme}://{name}");
        Ok(Self {
            root: Url::parse(&root).map_err(|error| error.to_string())?,
            prefix: Path::parse(prefix).map_err(|error| error.to_string())?,
            family,
        })
    }

    /// Opens the bucket as `variables` say: credentials, region, endpoint, and certificates to trust
    /// beside the machine's. Nothing is asked yet.
    pub(super) fn open(
        &self,
        url: &str,
        variables: impl IntoIterator<Item = Variable>,
    ) -> Result<Box<dyn ObjectStore>, StoreError> {
        let refused = |reason| StoreError::Url {
            url: url.to_owned(),
            reason,
        };
        let (own, others): (Vec<Variable>, Vec<Variable>) = variables
            .into_iter()
            .partition(|(name, _)| name.starts_with(self.family));
        let bundle = others.into_iter().find(|(name, _)| name == ENV_CA_BUNDLE);
        let client = match bundle {
            Some((_, file)) => trusting(&file).map_err(refused)?,
            None => ClientOptions::new(),
        };
        let mut options: Vec<Variable> = vec![
            ("timeout".to_owned(), LONGEST.to_owned()),
            ("read_timeout".to_owned(), SILENCE.to_owned()),
        ];
        for (name, value) in own {
            // An endpoint without TLS was asked for in so many words.
            if name.contains("_ENDPOINT") && value.starts_with("http://") {
                options.push(("allow_http".to_owned(), "true".to_owned()));
            }
            options.push((name.to_ascii_lowercase(), value));
        }
        let root = self.root.as_str();
        let store = match self.family {
            "AWS_" => built!(AmazonS3Builder, root, client, options),
            "GOOGLE_" => built!(GoogleCloudStorageBuilder, root, client, options),
            _ => built!(MicrosoftAzureBuilder, root, client, options),
        };
        let store = store.map_err(|error| refused(error.to_string()))?;
        match self.prefix.as_ref() {
            "" => Ok(store),
            _ => Ok(Box::new(PrefixStore::new(store, self.prefix.clone()))),
        }
    }
}

/// A client that trusts the authorities in a PEM file, too.
fn trusting(file: &str) -> Result<ClientOptions, String> {
    let problem = |what: String| format!("{ENV_CA_BUNDLE} names {file}, {what}");
    let pem =
        std::fs::read(file).map_err(|error| problem(format!("which cannot be read: {error}")))?;
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|error| problem(format!("which is no bundle of certificates: {error}")))?;
    if certificates.is_empty() {
        return Err(problem("which holds no certificate in PEM".to_owned()));
    }
    let client = ClientOptions::new();
    Ok(certificates
        .into_iter()
        .fold(client, ClientOptions::with_root_certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_with_its_prefix() {
        for (url, root, prefix) in [
            ("s3://models/a b/c", "s3://models", "a b/c"),
            ("gs://my_bucket", "gs://my_bucket", ""),
            ("az://container/runs/", "az://container", "runs"),
        ] {
            let bucket = Bucket::parse(url).unwrap();
            assert_eq!(
                (bucket.root.as_str(), bucket.prefix.as_ref()),
                (root, prefix)
            );
        }
        for url in ["s3://", "s3:///path", "s3://key@bucket", "gs://b/../c"] {
            assert!(Bucket::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn every_kind_of_bucket_opens_with_the_variables_of_its_own_family() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = vec![
            variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            variable("AWS_ACCESS_KEY_ID", "key"),
            variable("AWS_SECRET_ACCESS_KEY", "secret"),
            variable("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            variable("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
            variable("GOOGLE_SERVICE_ACCOUNT_KEY", "{}"),
        ];
        for (url, shown) in [
            ("s3://b", "AmazonS3(b)"),
            ("s3://b/p", "PrefixObjectStore(p)"),
            (
                "az://c",
                "MicrosoftAzure { account: account, container: c }",
            ),
        ] {
            let store = Bucket::parse(url).unwrap();
            let store = store.open(url, variables.clone()).unwrap();
            assert_eq!(store.to_string(), shown);
        }
        for (file, said) in [
            ("/nowhere/ca.crt", "cannot be read"),
            ("/dev/null", "no certificate"),
        ] {
            let bundle = variable(ENV_CA_BUNDLE, file);
            let with = variables.iter().cloned().chain([bundle]);
            let refused = Bucket::parse("s3://b").unwrap().open("s3://b", with);
            let message = refused.unwrap_err().to_string();
            assert!(
                message.contains(file) && message.contains(said),
                "{message}"
            );
        }
        let refused = Bucket::parse("gs://b").unwrap().open("gs://b", variables);
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("gs://b"), "{said}");
    }
}
