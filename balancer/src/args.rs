//! nginx's command line: single letters, joined or apart, the last of a repeated one wins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Whether the program was started under the name of the one whose place it takes: then it has no
/// commands, so that a script that meets them by mistake is told as nginx tells it.
#[must_use]
pub fn is_called_nginx(program: &str) -> bool {
    Path::new(program).file_name().is_some_and(|it| it == "nginx")
}

/// Which signal `-s` sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Ends at once.
    Stop,
    /// Ends when all requests are done.
    Quit,
    /// Opens the log files again.
    Reopen,
    /// Reads the configuration again.
    Reload,
}

impl Order {
    fn of(word: &str) -> Option<Self> {
        match word {
            "stop" => Some(Self::Stop),
            "quit" => Some(Self::Quit),
            "reopen" => Some(Self::Reopen),
            "reload" => Some(Self::Reload),
            _ => None,
        }
    }
}

/// How much `-v` and `-V` tell.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// Not asked for.
    #[default]
    None,
    /// One line.
    Short,
    /// How it was built, too.
    Long,
}

/// What was typed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that is typed or not")]
pub struct Args {
    /// `-h`, `-?`.
    pub help: bool,
    /// `-v`, `-V`.
    pub version: Version,
    /// `-t`, `-T`.
    pub test: bool,
    /// `-T`.
    pub dump: bool,
    /// `-q`.
    pub quiet: bool,
    /// `-s`.
    pub order: Option<Order>,
    /// `-p`, with a slash at its end.
    pub prefix: Option<PathBuf>,
    /// `-c`.
    pub conf: Option<PathBuf>,
    /// `-e`; empty and `stderr` stand for standard error.
    pub error_log: Option<String>,
    /// `-g`.
    pub globals: Option<String>,
    /// `--admin`: where metrics and status are served.
    pub admin: Option<SocketAddr>,
    /// `--admin-token-file`: what has to be told there by whoever changes something.
    pub admin_token_file: Option<PathBuf>,
    /// `--strict`: nginx's words alone, and names that do not resolve are errors.
    pub strict: bool,
}

impl Args {
    /// Parses the words after the program's name; an error is nginx's text.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            if let Some(long) = word.strip_prefix("--") {
                args.long(long, &mut words)?;
                continue;
            }
            let letters = word.strip_prefix('-');
            let letters = letters.ok_or_else(|| format!("invalid option: \"{word}\""))?;
            let mut rest = letters.chars();
            while let Some(letter) = rest.next() {
                match letter {
                    '?' | 'h' => args.help = true,
                    'v' => args.version = args.version.max(Version::Short),
                    'V' => args.version = Version::Long,
                    't' => args.test = true,
                    'T' => (args.test, args.dump) = (true, true),
                    'q' => args.quiet = true,
                    'p' | 'c' | 'e' | 'g' | 's' => {
                        let joined = rest.as_str();
                        let value =
                            if joined.is_empty() { words.next() } else { Some(joined.to_owned()) };
                        args.valued(letter, value)?;
                        break;
                    }
                    _ => return Err(format!("invalid option: \"{letter}\"")),
                }
            }
        }
        Ok(args)
    }

    fn valued(&mut self, letter: char, value: Option<String>) -> Result<(), String> {
        let what = match letter {
            'c' | 'e' => "file name",
            'p' => "directory name",
            _ => "parameter",
        };
        let missing = || format!("option \"-{letter}\" requires {what}");
        let value = value.filter(|it| letter == 'e' || !it.is_empty()).ok_or_else(missing)?;
        match letter {
            'c' => self.conf = Some(value.into()),
            'e' => self.error_log = Some(value),
            'g' => self.globals = Some(value),
            'p' => {
                let slash = if value.ends_with('/') { value } else { value + "/" };
                self.prefix = Some(slash.into());
            }
            _ => {
                let order = Order::of(&value);
                self.order = Some(order.ok_or_else(|| format!("invalid option: \"-s {value}\""))?);
            }
        }
        Ok(())
    }

    fn long(&mut self, name: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        match name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))) {
            ("admin", value) => {
                let value = value.map(str::to_owned).or_else(|| words.next());
                let value = value.ok_or("option \"--admin\" requires an address")?;
                let address = value.parse();
                self.admin = Some(
                    address.map_err(|_| format!("invalid address \"{value}\" in \"--admin\""))?,
                );
            }
            ("admin-token-file", value) => {
                let value = value.map(str::to_owned).or_else(|| words.next());
                let value = value.ok_or("option \"--admin-token-file\" requires file name")?;
                self.admin_token_file = Some(value.into());
            }
            ("strict", None) => self.strict = true,
            _ => return Err(format!("invalid option: \"--{name}\"")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn letters_join_and_values_may_follow_in_the_same_word() {
        let apart = parse("-t -q -c a.conf -p /tmp").unwrap();
        assert_eq!(parse("-tqca.conf -p/tmp/").unwrap(), apart);
        assert_eq!(apart.conf, Some("a.conf".into()));
        assert_eq!(apart.prefix, Some("/tmp/".into()));
    }

    #[test]
    fn the_last_of_a_repeated_option_wins() {
        assert_eq!(parse("-ca -cb").unwrap().conf, Some("b".into()));
        assert_eq!(parse("-vV").unwrap().version, Version::Long);
        assert_eq!(parse("-Vv").unwrap().version, Version::Long);
    }

    #[track_caller]
    fn check(line: &str, text: &str) {
        assert_eq!(parse(line).unwrap_err(), text, "{line}");
    }

    #[test]
    fn what_is_no_option_is_told_in_nginx_s_words() {
        check("foo", "invalid option: \"foo\"");
        check("-x", "invalid option: \"x\"");
        check("-tx", "invalid option: \"x\"");
        check("-c", "option \"-c\" requires file name");
        check("-e", "option \"-e\" requires file name");
        check("-p", "option \"-p\" requires directory name");
        check("-g", "option \"-g\" requires parameter");
        check("-s", "option \"-s\" requires parameter");
        check("-s nope", "invalid option: \"-s nope\"");
        check("--admin nope", "invalid address \"nope\" in \"--admin\"");
        check("--admin-token-file", "option \"--admin-token-file\" requires file name");
    }

    #[test]
    fn orders_are_those_of_nginx() {
        assert_eq!(parse("-s reload").unwrap().order, Some(Order::Reload));
        assert_eq!(parse("-squit").unwrap().order, Some(Order::Quit));
    }
}
