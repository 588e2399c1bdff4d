//! Signature Version 4: reading a signature from headers or query, and checking it against a secret.
//!
//! Whose secret it is, and what that caller may do, is decided elsewhere.
//! The region signed for is taken as it is: with an address of its own, a client signs IAM for its own region, not for `us-east-1`.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::{
    credentials::{hex, hmac},
    error::AwsError,
    time,
};
use crate::service::Request;

/// What RFC 3986 calls unreserved is left alone.
pub(crate) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the two clocks may be apart for a signature in a header.
const SKEW: Duration = Duration::from_mins(5);
/// How long a pre-signed request of STS lives, whatever its `X-Amz-Expires` says.
pub(crate) const PRESIGNED_LIFE: Duration = Duration::from_mins(15);

/// A signature as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) access_key_id: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) token: Option<String>,
    pub(crate) signed_headers: Vec<String>,
    pub(crate) timestamp: SystemTime,
    day: String,
    mac: String,
    presigned: bool,
}

impl Signature {
    /// The signature of a request; `None` if it carries none.
    pub(crate) fn of(request: &Request) -> Result<Option<Self>, AwsError> {
        let authorization = request.header("authorization");
        if !authorization.is_empty() {
            return Self::from_header(authorization, request).map(Some);
        }
        if request.query_value("X-Amz-Signature").is_some() {
            return Self::from_query(request).map(Some);
        }
        Ok(None)
    }

    fn from_header(authorization: &str, request: &Request) -> Result<Self, AwsError> {
        let rest =
            authorization.strip_prefix(ALGORITHM).ok_or_else(|| incomplete(&format!("Unsupported AWS 'algorithm': '{authorization}'.")))?;
        let part = |name: &str| {
            rest.split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
                .ok_or_else(|| incomplete(&format!("Authorization header requires '{name}' parameter.")))
        };
        let date = request.header("x-amz-date");
        let token = request.header("x-amz-security-token");
        Self::new(
            &part("Credential")?,
            date,
            &part("SignedHeaders")?,
            part("Signature")?,
            (!token.is_empty()).then(|| token.to_owned()),
            false,
        )
    }

    fn from_query(request: &Request) -> Result<Self, AwsError> {
        let part = |name: &str| {
            request.query_value(name).ok_or_else(|| incomplete(&format!("AWS query-string parameters must include '{name}'.")))
        };
        if part("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete("Unsupported AWS 'algorithm'."));
        }
        Self::new(
            &part("X-Amz-Credential")?,
            &part("X-Amz-Date")?,
            &part("X-Amz-SignedHeaders")?,
            part("X-Amz-Signature")?,
            request.query_value("X-Amz-Security-Token"),
            true,
        )
    }

    fn new(
        credential: &str,
        date: &str,
        signed_headers: &str,
        mac: String,
        token: Option<String>,
        presigned: bool,
    ) -> Result<Self, AwsError> {
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key_id, day, region, service, "aws4_request"] = scope[..] else {
            return Err(incomplete(&format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            )));
        };
        let timestamp = time::parse_basic(date)
            .ok_or_else(|| incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."))?;
        if !date.starts_with(day) {
            return Err(mismatch(&format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != '{date}'."
            )));
        }
        let signed_headers: Vec<String> = signed_headers.split(';').map(str::to_owned).collect();
        if !signed_headers.iter().any(|name| name == "host") {
            return Err(mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            token,
            signed_headers,
            timestamp,
            day: day.to_owned(),
            mac,
            presigned,
        })
    }

    /// Whether it was made lately.
    pub(crate) fn check_time(&self, now: SystemTime) -> Result<(), AwsError> {
        let life = if self.presigned { PRESIGNED_LIFE } else { SKEW };
        let (date, here) = (time::basic(self.timestamp), time::basic(now));
        let minutes = life.as_secs() / 60;
        if self.timestamp + life < now {
            let bound = time::basic(now - life);
            return Err(mismatch(&format!("Signature expired: {date} is now earlier than {bound} ({here} - {minutes} min.)")));
        }
        if self.timestamp > now + SKEW {
            let bound = time::basic(now + SKEW);
            return Err(mismatch(&format!("Signature not yet current: {date} is still later than {bound} ({here} + 5 min.)")));
        }
        Ok(())
    }

    /// Whether it was made with this secret over this request.
    pub(crate) fn check_secret(&self, request: &Request, secret: &str) -> Result<(), AwsError> {
        if self.mac_of(request, secret) == self.mac {
            return Ok(());
        }
        Err(mismatch(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ))
    }

    fn mac_of(&self, request: &Request, secret: &str) -> String {
        let canonical = canonical_request(
            request.method.as_str(),
            &request.path,
            &request.query,
            &request.headers,
            &self.signed_headers,
            &request.body,
        );
        let scope = format!("{}/{}/{}/aws4_request", self.day, self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{}", time::basic(self.timestamp), hex(&Sha256::digest(canonical)));
        let mut key = hmac(format!("AWS4{secret}").as_bytes(), self.day.as_bytes());
        for part in [self.region.as_str(), self.service.as_str(), "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        hex(&hmac(&key, to_sign.as_bytes()))
    }
}

fn canonical_request(method: &str, path: &str, query: &str, headers: &HeaderMap, signed_headers: &[String], body: &[u8]) -> String {
    let path = if path.is_empty() { "/" } else { path };
    // All services but S3 encode the path, encoded already, once more.
    let path: Vec<String> = path.split('/').map(|part| utf8_percent_encode(part, UNRESERVED).to_string()).collect();
    let mut lines = format!("{method}\n{}\n{}\n", path.join("/"), canonical_query(query));
    for name in signed_headers {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        for part in [name.as_str(), ":", &values.join(","), "\n"] {
            lines.push_str(part);
        }
    }
    let names = signed_headers.join(";");
    lines + "\n" + &names + "\n" + &hex(&Sha256::digest(body))
}

fn canonical_query(query: &str) -> String {
    let code = |part: &str| {
        let decoded: Vec<u8> = percent_decode_str(part).collect();
        percent_encoding::percent_encode(&decoded, UNRESERVED).to_string()
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (code(key), code(value)))
        .filter(|(key, _)| key != "X-Amz-Signature")
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join("&")
}

fn incomplete(message: &str) -> AwsError {
    AwsError::new(400, "IncompleteSignature", message)
}

fn mismatch(message: &str) -> AwsError {
    AwsError::new(403, "SignatureDoesNotMatch", message)
}

#[cfg(test)]
pub(crate) mod tests {
    use http::Method;

    use super::*;
    use crate::aws::Credentials;

    /// Signs as a client does, in the headers.
    pub(crate) fn sign(request: &mut Request, credentials: &Credentials, service: &str, region: &str, now: SystemTime) {
        let date = time::basic(now);
        request.headers.insert("host", "127.0.0.1:1".parse().unwrap());
        request.headers.insert("x-amz-date", date.parse().unwrap());
        let mut signed = "host;x-amz-date".to_owned();
        if let Some(token) = &credentials.session_token {
            signed += ";x-amz-security-token";
            request.headers.insert("x-amz-security-token", token.parse().unwrap());
        }
        let mut unsigned = Signature::new(
            &format!("{}/{}/{region}/{service}/aws4_request", credentials.access_key_id, &date[..8]),
            &date,
            &signed,
            String::new(),
            None,
            false,
        )
        .unwrap();
        unsigned.mac = unsigned.mac_of(request, &credentials.secret_access_key);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}/{region}/{service}/aws4_request, SignedHeaders={signed}, Signature={}",
            credentials.access_key_id,
            &date[..8],
            unsigned.mac
        );
        request.headers.insert("authorization", authorization.parse().unwrap());
    }

    /// The `X-Amz-Signature` of a request whose query holds all but that.
    pub(crate) fn query_signature(request: &Request, secret: &str) -> String {
        let mut with = request.clone();
        with.query += "&X-Amz-Signature=0";
        let signature = Signature::of(&with).unwrap().unwrap();
        signature.mac_of(request, secret)
    }

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn request(query: &str, headers: &[(&'static str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        Request { method: Method::GET, path: "/".into(), query: query.into(), headers, body: bytes::Bytes::new() }
    }

    /// The example that AWS's guide to Signature Version 4 works through.
    #[test]
    fn the_published_example_is_accepted_and_any_change_is_not() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let build = |query: &str, host: &str| {
            request(
                query,
                &[
                    ("host", host),
                    ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                    ("x-amz-date", "20150830T123600Z"),
                    ("authorization", authorization),
                ],
            )
        };
        let good = build("Action=ListUsers&Version=2010-05-08", "iam.amazonaws.com");
        let signature = Signature::of(&good).unwrap().unwrap();
        assert_eq!(signature.access_key_id, "AKIDEXAMPLE");
        assert_eq!(signature.service, "iam");
        assert!(signature.check_secret(&good, SECRET).is_ok());
        assert!(signature.check_secret(&good, "other").is_err());
        for other in [
            build("Action=ListRoles&Version=2010-05-08", "iam.amazonaws.com"),
            build("Action=ListUsers&Version=2010-05-08", "iam.example.com"),
        ] {
            let error = signature.check_secret(&other, SECRET).unwrap_err();
            assert_eq!(error.code, "SignatureDoesNotMatch");
        }
    }

    #[test]
    fn a_clock_more_than_five_minutes_off_is_refused() {
        let authorization = "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=00";
        let signature = Signature::of(&request("", &[("host", "h"), ("x-amz-date", "20150830T123600Z"), ("authorization", authorization)]))
            .unwrap()
            .unwrap();
        let sent = time::parse_basic("20150830T123600Z").unwrap();
        let second = Duration::from_secs(1);
        assert!(signature.check_time(sent + SKEW).is_ok());
        assert!(signature.check_time(sent - SKEW).is_ok());
        let late = signature.check_time(sent + SKEW + second).unwrap_err();
        assert_eq!(late.message, "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)");
        assert!(signature.check_time(sent - SKEW - second).is_err());
    }

    #[test]
    fn a_broken_authorization_header_is_an_incomplete_signature() {
        for authorization in [
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/iam, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00",
        ] {
            let error = Signature::of(&request("", &[("x-amz-date", "20150830T123600Z"), ("authorization", authorization)])).unwrap_err();
            assert_eq!(error.code, "IncompleteSignature", "{authorization}");
        }
    }

    #[test]
    fn a_query_is_sorted_and_encoded_once() {
        assert_eq!(canonical_query("b=2&a=%2f+x&a=1&X-Amz-Signature=zz&c"), "a=%2F%2Bx&a=1&b=2&c=");
    }
}
