//! Where a bucket is: the three forms of URL, and another address for the service behind it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a bucket of snapshots is. Credentials are no part of it: a URL with a name or a key inside is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl(pub(super) Place);

/// The three kinds of bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `gs://bucket/prefix`, Google Cloud Storage.
    Google { bucket: String, prefix: String },
    /// `s3://bucket/prefix`, Amazon S3 and what speaks like it.
    Amazon { bucket: String, prefix: String },
    /// `file:///path`, a folder of this machine.
    Folder(PathBuf),
}

/// A text is no URL of a bucket. Never holds the text, which may be a secret pasted by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlFault {
    /// It begins with none of the three schemes.
    #[error("must be gs://bucket/prefix, s3://bucket/prefix or file:///absolute/path")]
    Scheme,
    /// The name of the bucket has a character that no bucket's name has.
    #[error(
        "must name a bucket of 3 to 222 letters, digits, dots, hyphens and underscores, and nothing else"
    )]
    Bucket,
    /// The prefix cannot be the beginning of an object's name.
    #[error(
        "has a prefix that cannot be used: leave out empty parts, `.`, `..`, `?`, `#` and control characters"
    )]
    Prefix,
    /// The path behind `file://` is not absolute.
    #[error(
        "must be file:// and an absolute path, as in file:///srv/karute; nothing in it is percent-encoded"
    )]
    Path,
    /// It is no address of a service.
    #[error("must be http:// or https://, a host and perhaps a port, and nothing else")]
    Endpoint,
}

impl FromStr for BucketUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        if let Some(path) = text.strip_prefix("file://") {
            let sound = path.starts_with('/') && !path.chars().any(char::is_control);
            return if sound { Ok(Self(Place::Folder(path.into()))) } else { Err(UrlFault::Path) };
        }
        let (google, rest) = match (text.strip_prefix("gs://"), text.strip_prefix("s3://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(UrlFault::Scheme),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !(3..=222).contains(&bucket.len()) || !bucket.chars().all(plain) || bucket.contains("..") {
            return Err(UrlFault::Bucket);
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let sound = |part: &str| {
            !matches!(part, "" | "." | "..")
                && !part.chars().any(|c| c.is_control() || matches!(c, '?' | '#' | '\\'))
        };
        if !prefix.is_empty() && !prefix.split('/').all(sound) {
            return Err(UrlFault::Prefix);
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Ok(Self(if google { Place::Google { bucket, prefix } } else { Place::Amazon { bucket, prefix } }))
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, bucket, prefix) = match &self.0 {
            Place::Google { bucket, prefix } => ("gs", bucket, prefix),
            Place::Amazon { bucket, prefix } => ("s3", bucket, prefix),
            Place::Folder(path) => return write!(f, "file://{}", path.display()),
        };
        write!(f, "{scheme}://{bucket}")?;
        if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

/// The address of a service that stands in for Google's or Amazon's: a private one, or an emulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The address, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what goes there can be read on its way.
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl FromStr for Endpoint {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        match host {
            Some(host) if !host.is_empty() && host.chars().all(plain) => Ok(Self(text.to_owned())),
            _ => Err(UrlFault::Endpoint),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read_and_written_back() {
        for text in ["gs://bucket", "gs://a-b.c_d/one/二", "s3://bucket/a b", "file:///srv/データ と 空白"]
        {
            let url: BucketUrl = text.parse().expect("one of the three forms");
            assert_eq!(url.to_string(), text);
        }
        assert_eq!("gs://bucket/".parse::<BucketUrl>().expect("a slash too many").to_string(), "gs://bucket");
    }

    #[test]
    fn what_is_no_bucket_is_refused_and_never_repeated() {
        for (text, fault) in [
            ("", UrlFault::Scheme),
            ("http://bucket", UrlFault::Scheme),
            ("gs:bucket", UrlFault::Scheme),
            ("gs://", UrlFault::Bucket),
            ("s3://key:s3cret@bucket/x", UrlFault::Bucket),
            ("gs://../x", UrlFault::Bucket),
            ("gs://bucket/a//b", UrlFault::Prefix),
            ("gs://bucket/../b", UrlFault::Prefix),
            ("s3://bucket/a?X-Amz-Signature=s3cret", UrlFault::Prefix),
            ("file://srv/karute", UrlFault::Path),
        ] {
            let found = text.parse::<BucketUrl>().expect_err(text);
            assert_eq!(found, fault, "{text}");
            assert!(!found.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        let endpoint: Endpoint = "http://127.0.0.1:9000/".parse().expect("an endpoint");
        assert!(endpoint.is_plain());
        assert_eq!(endpoint.as_str(), "http://127.0.0.1:9000");
        for text in ["127.0.0.1:9000", "http://", "https://a:b@host", "https://host/path", "ftp://host"] {
            assert_eq!(text.parse::<Endpoint>(), Err(UrlFault::Endpoint), "{text}");
        }
    }
}
