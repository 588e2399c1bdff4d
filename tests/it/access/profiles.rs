//! AWS profiles as people have them on their machines: of IAM Identity Center, of `aws login`, of a program.
//!
//! The build for laptops gets their credentials, the image's build (`cargo test --no-default-features --test it -- profiles`) says how to export them.

use crate::support::{environment::Environment, fixtures::MANIFEST};

/// An environment whose credentials for AWS come from a profile, and from nowhere else.
fn with_profile(profile: &str) -> Environment {
    let mut environment = Environment::new(MANIFEST);
    let home = environment.sandbox.files().join("home");
    std::fs::create_dir_all(home.join(".aws")).unwrap();
    let profile = profile.replace("HOME", &home.display().to_string());
    std::fs::write(home.join(".aws/config"), format!("[profile people]\nregion = eu-west-3\n{profile}\n")).unwrap();
    environment.set("AWS_CONFIG_FILE", &home.join(".aws/config").display().to_string());
    environment.set("HOME", &home.display().to_string());
    environment.set("AWS_PROFILE", "people");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        environment.unset(name);
    }
    environment
}

const IDENTITY_CENTER: &str = "sso_session = acme\nsso_account_id = 123456789012\nsso_role_name = Deployer\n\
                               [sso-session acme]\nsso_region = eu-west-3\nsso_start_url = https://acme.awsapps.com/start\nsso_registration_scopes = sso:account:access";
#[cfg(not(feature = "laptop"))]
const IDENTITY_CENTER_OF_OLD: &str =
    "sso_region = eu-west-3\nsso_start_url = https://acme.awsapps.com/start\nsso_account_id = 123456789012\nsso_role_name = Deployer";
const LOGIN: &str = "login_session = arn:aws:iam::123456789012:user/job";
const PROGRAM: &str = "credential_process = /bin/cat HOME/credentials.json";

#[cfg(not(feature = "laptop"))]
#[test]
fn a_profile_that_this_build_does_not_support_says_in_plain_words_how_to_export_it() {
    let assumed = "role_arn = arn:aws:iam::123456789012:role/deployer\nsource_profile = base\n[profile base]\n";
    for (profile, source) in [
        (IDENTITY_CENTER.to_owned(), "IAM Identity Center (SSO)"),
        (IDENTITY_CENTER_OF_OLD.to_owned(), "IAM Identity Center (SSO)"),
        (LOGIN.to_owned(), "`aws login` (`login_session`)"),
        (PROGRAM.to_owned(), "a program (`credential_process`)"),
        (format!("{assumed}{PROGRAM}"), "a program (`credential_process`)"),
    ] {
        for kubeconfig in [false, true] {
            let mut environment = with_profile(&profile);
            if !kubeconfig {
                environment.unset("KUBECONFIG");
            }
            for command in ["start", "plan", "doctor"] {
                let run = environment.run(&[command]).ended(1);
                let said =
                    format!("UnsupportedProfile: the AWS profile takes its credentials from {source}, which this build does not support");
                assert!(run.err.contains(&said), "{profile} {command}: {}", run.err);
                assert!(run.err.contains("aws configure export-credentials --format env"), "{}", run.err);
                assert!(!run.err.contains("feature(s)") && run.writes == 0, "{}", run.err);
            }
        }
    }
}

#[cfg(feature = "laptop")]
mod laptop {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        path::PathBuf,
    };

    use serde_json::json;
    use sha2::{Digest as _, Sha256};

    use super::{Environment, IDENTITY_CENTER, LOGIN, PROGRAM, with_profile};

    /// The keys of the job, which the profile is to bring.
    fn keys(environment: &Environment) -> (String, String) {
        let user = environment.sandbox.aws(|aws| aws.users()["job"].clone());
        user.keys.into_iter().next().unwrap()
    }

    fn home(environment: &Environment) -> PathBuf {
        environment.sandbox.files().join("home")
    }

    #[track_caller]
    fn works(environment: &Environment) {
        environment.start();
        assert_eq!(environment.run(&["plan"]).ended(0).writes, 0);
        environment.delete();
    }

    #[test]
    fn a_profile_of_a_program_works() {
        let mut environment = with_profile(PROGRAM);
        environment.unset("KUBECONFIG");
        let (id, secret) = keys(&environment);
        let answer = json!({"Version": 1, "AccessKeyId": id, "SecretAccessKey": secret});
        std::fs::write(home(&environment).join("credentials.json"), answer.to_string()).unwrap();
        works(&environment);
    }

    #[test]
    fn a_profile_of_aws_login_works() {
        let environment = with_profile(LOGIN);
        let (id, secret) = keys(&environment);
        let cache = home(&environment).join(".aws/login/cache");
        std::fs::create_dir_all(&cache).unwrap();
        let session = LOGIN.trim_start_matches("login_session = ");
        let name = Sha256::digest(session).iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
        let token = json!({
            "accessToken": {
                "accessKeyId": id, "secretAccessKey": secret, "sessionToken": "", "accountId": "123456789012",
                "expiresAt": "2099-01-01T00:00:00Z",
            },
            "tokenType": "aws_sigv4", "refreshToken": "r", "identityToken": "i", "clientId": "arn:aws:signin:::devtools/same-device",
            "dpopKey": "k",
        });
        std::fs::write(cache.join(format!("{name}.json")), token.to_string()).unwrap();
        works(&environment);
    }

    #[test]
    fn a_profile_of_iam_identity_center_works() {
        let mut environment = with_profile(IDENTITY_CENTER);
        let (id, secret) = keys(&environment);
        let cache = home(&environment).join(".aws/sso/cache");
        std::fs::create_dir_all(&cache).unwrap();
        // The SHA-1 of `acme`, the name of the session.
        let token = json!({"startUrl": "https://acme.awsapps.com/start", "region": "eu-west-3", "accessToken": "sso-token", "expiresAt": "2099-01-01T00:00:00Z"});
        std::fs::write(cache.join("293abb6b76d7791c0732cc517d38c4b5c734b87f.json"), token.to_string()).unwrap();
        let portal = TcpListener::bind("127.0.0.1:0").unwrap();
        environment.set("AWS_ENDPOINT_URL_SSO", &format!("http://{}", portal.local_addr().unwrap()));
        let answer = json!({"roleCredentials": {"accessKeyId": id, "secretAccessKey": secret, "sessionToken": "", "expiration": 4_070_908_800_000_u64}})
            .to_string();
        std::thread::spawn(move || {
            for stream in portal.incoming() {
                let mut stream = stream.unwrap();
                let asked: Vec<String> = BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                let good = asked[0].contains("role_name=Deployer") && asked.iter().any(|line| line.ends_with("sso-token"));
                let status = if good { "200 OK" } else { "401 Unauthorized" };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    answer.len()
                );
                stream.write_all((head + &answer).as_bytes()).unwrap();
            }
        });
        works(&environment);
    }
}
