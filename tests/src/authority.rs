//! A certificate authority of clients, by the administrator's own tool: `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority whose files are in a directory.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    name: String,
}

impl Authority {
    /// Makes `NAME.crt` and `NAME.key`.
    ///
    /// # Panics
    /// When `openssl` is missing (`tests/setup` installs it), or fails.
    pub fn new(directory: &Path, name: &str) -> Self {
        let authority = Self { directory: directory.to_owned(), name: name.to_owned() };
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let subject = format!("/CN={name}");
        let mut words = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        words.extend(["-days", "30", "-subj", &subject, "-keyout", &key, "-out", &certificate]);
        words.extend(["-addext", "keyUsage=critical,keyCertSign"]);
        authority.openssl(None, &words);
        authority
    }

    /// Its certificate.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.read(&format!("{}.crt", self.name))
    }

    /// A client's certificate for a day from `from` (now, or as `faketime` reads it), and its key, in one PEM.
    ///
    /// # Panics
    /// When `openssl` or `faketime` fails.
    #[must_use]
    pub fn client(&self, common_name: &str, from: Option<&str>) -> String {
        let subject = format!("/CN={common_name}");
        let mut words = vec!["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        words.extend(["-subj", &subject, "-keyout", "client.key", "-out", "client.csr"]);
        self.openssl(None, &words);
        let extensions = self.directory.join("client.ext");
        std::fs::write(extensions, "extendedKeyUsage=clientAuth\n")
            .unwrap_or_else(|error| panic!("client.ext: {error}"));
        let (certificate, key) = (format!("{}.crt", self.name), format!("{}.key", self.name));
        let mut words = vec!["x509", "-req", "-in", "client.csr", "-CA", &certificate, "-CAkey", &key, "-days", "1"];
        words.extend(["-CAcreateserial", "-extfile", "client.ext", "-out", "client.crt"]);
        self.openssl(from, &words);
        format!("{}{}", self.read("client.crt"), self.read("client.key"))
    }

    fn read(&self, name: &str) -> String {
        let path = self.directory.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn openssl(&self, at: Option<&str>, words: &[&str]) {
        let mut command = Command::new(if at.is_some() { "faketime" } else { "openssl" });
        if let Some(at) = at {
            command.args([at, "openssl"]);
        }
        let output = command.args(words).current_dir(&self.directory).output();
        let output = output.unwrap_or_else(|error| panic!("openssl (tests/setup installs it): {error}"));
        assert!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
