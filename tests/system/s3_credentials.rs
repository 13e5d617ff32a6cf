//! Keys for S3 come from wherever Amazon's own tools would have them from.

use std::fs;

use fixtures::s3::{BUCKET, KEYS, KeyServer, S3Server, SIGNED_IN};
use system_tests::{Workplace, describe};

/// Where keys can come from: files of `~/.aws`, and variables. `KEYS_URL` stands for the server that gives keys.
struct Source {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
}

const SOURCES: [Source; 7] = [
    Source {
        name: "the environment",
        files: &[],
        variables: &[("AWS_ACCESS_KEY_ID", KEYS.0), ("AWS_SECRET_ACCESS_KEY", KEYS.1)],
    },
    Source {
        name: "the default profile",
        files: &[(
            "credentials",
            "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2-secret-key\n",
        )],
        variables: &[],
    },
    Source {
        name: "a named profile",
        files: &[(
            "credentials",
            "[away]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2-secret-key\n",
        )],
        variables: &[("AWS_PROFILE", "away")],
    },
    Source {
        name: "a process",
        files: &[("config", "[default]\ncredential_process = cat keys.json\n")],
        variables: &[],
    },
    Source {
        name: "single sign-on",
        files: &[(
            "config",
            "[default]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n\
             sso_account_id = 123456789012\nsso_role_name = backup\n",
        )],
        variables: &[("AWS_ENDPOINT_URL_SSO", "KEYS_URL")],
    },
    Source {
        name: "a container's role",
        files: &[],
        variables: &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "KEYS_URL/container"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container"),
        ],
    },
    Source {
        name: "a machine's role",
        files: &[],
        variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "KEYS_URL"), ("AWS_EC2_METADATA_DISABLED", "false")],
    },
];

/// The name is the SHA-1 of the start URL, as Amazon's own tools have it.
const TOKEN: &str = ".aws/sso/cache/e8be5486177c5b5392bd9aa76563515b29358e6e.json";

#[test]
fn keys_come_from_every_source_of_amazons_chain() {
    let (s3, keys) = (S3Server::start(), KeyServer::start());
    for source in SOURCES {
        let place = Workplace::default();
        fs::create_dir_all(place.path(".aws/sso/cache")).expect("a directory");
        place.write(TOKEN, format!(r#"{{"accessToken":"{SIGNED_IN}","expiresAt":"2099-01-01T00:00:00Z"}}"#));
        let (id, secret) = KEYS;
        place.write("keys.json", format!(r#"{{"Version":1,"AccessKeyId":"{id}","SecretAccessKey":"{secret}"}}"#));
        for (file, content) in source.files {
            place.write(&format!(".aws/{file}"), content);
        }
        let list = || {
            let mut list = place.cli(&["list", &format!("s3://{BUCKET}")]);
            list.env("AWS_ENDPOINT_URL_S3", s3.url()).env("AWS_REGION", "us-east-1");
            list
        };
        let variables = source.variables.iter().map(|(name, value)| (name, value.replace("KEYS_URL", &keys.url())));
        let listed = list().env("AWS_EC2_METADATA_DISABLED", "true").envs(variables).output().expect("it runs");
        let all = describe(&listed);
        assert!(listed.status.success(), "{}: {all}", source.name);
        assert!(!all.contains(KEYS.1), "{}: {all}", source.name);
    }
}
