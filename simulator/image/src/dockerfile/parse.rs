//! Lines to instructions.

use super::lines::{self, Line};
use super::{Problem, healthcheck, split};
use crate::spec::Healthcheck;

/// An instruction and the number of the line it begins on (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Line number.
    pub line: usize,
    /// The text, as the image's history shows it.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// An instruction. Words still have their quotes and variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// The image to build on.
    From {
        /// Its name, or that of an earlier stage.
        image: String,
        /// Name of the stage.
        name: Option<String>,
    },
    /// A parameter of the build.
    Arg {
        /// Names with their defaults.
        variables: Vec<(String, Option<String>)>,
    },
    /// Files into the image (`COPY`, and `ADD` of local files).
    Copy {
        /// Paths or patterns in the context.
        sources: Vec<String>,
        /// Path in the image.
        destination: String,
        /// Stage or image that has the files, from `--from`.
        from: Option<String>,
        /// Who they shall belong to, from `--chown`.
        owner: Option<String>,
        /// Mode of the files, from `--chmod`.
        mode: Option<u32>,
        /// True for `ADD`, which unpacks archives.
        unpack: bool,
        /// True where the words are from a JSON list and have no quotes to be taken away.
        verbatim: bool,
    },
    /// The directory to go on in.
    Workdir(String),
    /// Environment of the program.
    Env(Vec<(String, String)>),
    /// Facts about the image.
    Label(Vec<(String, String)>),
    /// Ports that the program listens on.
    Expose(Vec<String>),
    /// Who runs the program.
    User(String),
    /// The program's arguments.
    Cmd(Invocation),
    /// The program.
    Entrypoint(Invocation),
    /// The signal that asks the program to end.
    StopSignal(String),
    /// How Docker would find out whether the program is well.
    Healthcheck(Healthcheck),
}

/// How a program is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// A JSON list: the program itself.
    Exec(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

const DOCKER_FOR_RUN: &str = "it runs a program while building; do that work before and COPY the result, or build with docker build";
const DOCKER: &str = "leave it out, or build with docker build";

/// Every instruction's name, for suggestions.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Parses a Dockerfile; the letter that escapes in it comes along.
///
/// # Errors
/// The first problem, with the number of its line (from 1).
pub fn parse(text: &str) -> Result<(Vec<Step>, char), (usize, Problem)> {
    let (lines, escape) = lines::join(text);
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        let instruction = parse_line(&line, escape).map_err(|problem| (line.number, problem))?;
        let begun = steps.iter().any(|step| is_from(&step.instruction));
        check_order(&instruction, begun, &line).map_err(|problem| (line.number, problem))?;
        steps.push(Step {
            line: line.number,
            text: line.text,
            instruction,
        });
    }
    if steps.iter().any(|step| is_from(&step.instruction)) {
        Ok((steps, escape))
    } else {
        Err((1, Problem::Empty))
    }
}

fn is_from(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::From { .. })
}

fn check_order(instruction: &Instruction, begun: bool, line: &Line) -> Result<(), Problem> {
    match instruction {
        Instruction::From { .. } | Instruction::Arg { .. } => Ok(()),
        _ if begun => Ok(()),
        _ => {
            let name = line.text.split_whitespace().next().unwrap_or_default();
            Err(Problem::BeforeFrom {
                instruction: name.to_ascii_uppercase(),
            })
        }
    }
}

fn parse_line(line: &Line, escape: char) -> Result<Instruction, Problem> {
    let text = line.text.trim();
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let one = |instruction, form| one_word(rest, instruction, form);
    match name.to_ascii_uppercase().as_str() {
        "FROM" => parse_from(rest),
        "ARG" => parse_arg(rest, escape),
        "COPY" => parse_copy("COPY", rest, escape),
        "ADD" => parse_copy("ADD", rest, escape),
        "WORKDIR" => one("WORKDIR", "WORKDIR /path").map(Instruction::Workdir),
        "ENV" => pairs("ENV", "ENV NAME=value …", rest, escape).map(Instruction::Env),
        "LABEL" => pairs("LABEL", "LABEL name=value …", rest, escape).map(Instruction::Label),
        "EXPOSE" => many("EXPOSE", "EXPOSE 8080 …", rest, escape).map(Instruction::Expose),
        "USER" => one("USER", "USER name-or-id").map(Instruction::User),
        "CMD" => parse_invocation("CMD", rest).map(Instruction::Cmd),
        "ENTRYPOINT" => parse_invocation("ENTRYPOINT", rest).map(Instruction::Entrypoint),
        "STOPSIGNAL" => one("STOPSIGNAL", "STOPSIGNAL SIGTERM").map(Instruction::StopSignal),
        "HEALTHCHECK" => healthcheck::parse(rest).map(Instruction::Healthcheck),
        "RUN" => Err(needs_docker("RUN", DOCKER_FOR_RUN)),
        known @ ("VOLUME" | "SHELL" | "ONBUILD" | "MAINTAINER") => Err(needs_docker(known, DOCKER)),
        _ => Err(Problem::Unknown {
            name: name.to_owned(),
            like: closest(name),
        }),
    }
}

fn needs_docker(what: &str, advice: &'static str) -> Problem {
    Problem::NeedsDocker {
        what: what.to_owned(),
        advice,
    }
}

fn one_word(rest: &str, instruction: &'static str, form: &'static str) -> Result<String, Problem> {
    if rest.is_empty() {
        Err(Problem::Form { instruction, form })
    } else {
        Ok(rest.to_owned())
    }
}

fn many(
    instruction: &'static str,
    form: &'static str,
    rest: &str,
    escape: char,
) -> Result<Vec<String>, Problem> {
    let words = split(rest, escape)?;
    if words.is_empty() {
        Err(Problem::Form { instruction, form })
    } else {
        Ok(words)
    }
}

fn parse_from(rest: &str) -> Result<Instruction, Problem> {
    let form = Problem::Form {
        instruction: "FROM",
        form: "FROM image, or FROM image AS stage",
    };
    let mut words = rest.split_whitespace().peekable();
    while let Some(flag) = words.next_if(|word| word.starts_with("--")) {
        // Naming this machine's own platform is harmless; another one could not be run here.
        let own = format!("--platform=linux/{}", crate::spec::host_architecture());
        let variables = ["--platform=$BUILDPLATFORM", "--platform=$TARGETPLATFORM"];
        let plain = flag.replace(['{', '}'], "");
        if flag != own && !variables.contains(&plain.as_str()) {
            return Err(Problem::Flag {
                instruction: "FROM",
                flag: flag.to_owned(),
            });
        }
    }
    let image = words.next().ok_or_else(|| form.clone())?.to_owned();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(Instruction::From { image, name: None }),
        (Some(word), Some(name), None) if word.eq_ignore_ascii_case("as") => {
            let name = Some(name.to_owned());
            Ok(Instruction::From { image, name })
        }
        _ => Err(form),
    }
}

fn parse_arg(rest: &str, escape: char) -> Result<Instruction, Problem> {
    let words = many("ARG", "ARG NAME or ARG NAME=default", rest, escape)?;
    let variable = |word: &String| match word.split_once('=') {
        Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
        None => (word.clone(), None),
    };
    Ok(Instruction::Arg {
        variables: words.iter().map(variable).collect(),
    })
}

fn parse_copy(instruction: &'static str, rest: &str, escape: char) -> Result<Instruction, Problem> {
    let mut rest = rest;
    let mut flags = CopyFlags::default();
    while rest.starts_with("--") {
        let (flag, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        flags.read(instruction, flag)?;
        rest = after.trim_start();
    }
    let CopyFlags { from, owner, mode } = flags;
    if rest.contains("<<") {
        return Err(needs_docker(
            "a here-document",
            "put the text into a file and COPY it",
        ));
    }
    let verbatim = rest.starts_with('[');
    let mut words = if verbatim {
        json_list(rest, r#"COPY ["my file", "/app/"]"#)?
    } else {
        split(rest, escape)?
    };
    let destination = words.pop().filter(|_| !words.is_empty());
    let destination = destination.ok_or(Problem::Form {
        instruction,
        form: "COPY source … destination",
    })?;
    if instruction == "ADD" {
        words.iter().try_for_each(|source| check_add(source))?;
    }
    Ok(Instruction::Copy {
        sources: words,
        destination,
        from,
        owner,
        mode,
        unpack: instruction == "ADD",
        verbatim,
    })
}

/// What stands before the words of a `COPY`.
#[derive(Debug, Default)]
struct CopyFlags {
    from: Option<String>,
    owner: Option<String>,
    mode: Option<u32>,
}

impl CopyFlags {
    fn read(&mut self, instruction: &'static str, flag: &str) -> Result<(), Problem> {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match name {
            // Layers stand beside each other here anyway.
            "--link" => {}
            "--chown" if !value.is_empty() => self.owner = Some(value.to_owned()),
            "--from" if instruction == "COPY" && !value.is_empty() => {
                self.from = Some(value.to_owned());
            }
            "--chmod" => match u32::from_str_radix(value, 8) {
                Ok(mode) if mode <= 0o777 => self.mode = Some(mode),
                Ok(_) | Err(_) => {
                    return Err(Problem::Value {
                        value: value.to_owned(),
                        expected: "a mode in octal digits up to 777",
                    });
                }
            },
            _ => {
                return Err(Problem::Flag {
                    instruction,
                    flag: name.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// `ADD` does more than `COPY` with some sources, which is not done here.
fn check_add(source: &str) -> Result<(), Problem> {
    const PACKED: [&str; 5] = [".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst"];
    if source.contains("://") || source.starts_with("git@") {
        let advice = "download the file before and COPY it";
        return Err(needs_docker("ADD from an address", advice));
    }
    if PACKED.iter().any(|suffix| source.ends_with(suffix)) {
        let advice = "pack it as .tar or .tar.gz, or COPY it as it is";
        return Err(needs_docker("ADD of an archive packed this way", advice));
    }
    Ok(())
}

fn parse_invocation(instruction: &'static str, rest: &str) -> Result<Invocation, Problem> {
    if rest.is_empty() {
        return Err(Problem::Form {
            instruction,
            form: "CMD [\"program\", \"argument\"] or CMD command line (ENTRYPOINT likewise)",
        });
    }
    if rest.starts_with('[') {
        json_list(rest, r#"CMD ["program", "argument"]"#).map(Invocation::Exec)
    } else {
        Ok(Invocation::Shell(rest.to_owned()))
    }
}

fn json_list(text: &str, example: &'static str) -> Result<Vec<String>, Problem> {
    serde_json::from_str(text).map_err(|_| Problem::List { example })
}

/// `A=1 B=2`, or the older form `A everything else`.
fn pairs(
    instruction: &'static str,
    form: &'static str,
    rest: &str,
    escape: char,
) -> Result<Vec<(String, String)>, Problem> {
    let wrong = || Problem::Form { instruction, form };
    let words = many(instruction, form, rest, escape)?;
    if words[0].contains('=') {
        let pair = |word: &String| {
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            if name.is_empty() {
                return Err(wrong());
            }
            Ok((name.to_owned(), value.to_owned()))
        };
        return words.iter().map(pair).collect();
    }
    let (name, value) = rest.split_once(char::is_whitespace).ok_or_else(wrong)?;
    Ok(vec![(name.to_owned(), value.trim().to_owned())])
}

/// The instruction that differs in the fewest letters, where few differ.
fn closest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let distances = NAMES.iter().map(|known| (distance(&name, known), *known));
    let (distance, known) = distances.min()?;
    (distance <= 2).then_some(known)
}

/// Letters to be added, removed or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instructions(text: &str) -> Vec<(usize, Instruction)> {
        let (steps, _) = parse(text).unwrap();
        let pair = |step: Step| (step.line, step.instruction);
        steps.into_iter().map(pair).skip(1).collect()
    }

    /// Checks the one instruction after `FROM a`.
    #[track_caller]
    fn case(line: &str, expected: &Instruction) {
        let found = instructions(&format!("FROM a\n{line}"));
        assert_eq!(found, [(2, expected.clone())], "{line}");
    }

    #[track_caller]
    fn refused(text: &str, line: usize, part: &str) {
        let (found, problem) = parse(text).unwrap_err();
        assert_eq!(found, line, "{problem}");
        assert!(problem.to_string().contains(part), "{problem}");
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn every_supported_instruction_is_understood() {
        let copy = |sources: &[&str], destination: &str, mode, verbatim| Instruction::Copy {
            sources: strings(sources),
            destination: destination.to_owned(),
            from: None,
            owner: None,
            mode,
            unpack: false,
            verbatim,
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        case("COPY a b /c/", &copy(&["a", "b"], "/c/", None, false));
        case(
            "copy --link --chmod=755 a /b",
            &copy(&["a"], "/b", Some(0o755), false),
        );
        case(
            "COPY --from=build --chown=app:1 /out /b",
            &Instruction::Copy {
                sources: strings(&["/out"]),
                destination: "/b".to_owned(),
                from: Some("build".to_owned()),
                owner: Some("app:1".to_owned()),
                mode: None,
                unpack: false,
                verbatim: false,
            },
        );
        case(r#"COPY ["a b", "/c"]"#, &copy(&["a b"], "/c", None, true));
        case(
            "ADD a.tar.gz /b",
            &Instruction::Copy {
                sources: strings(&["a.tar.gz"]),
                destination: "/b".to_owned(),
                from: None,
                owner: None,
                mode: None,
                unpack: true,
                verbatim: false,
            },
        );
        case("WORKDIR /a b", &Instruction::Workdir("/a b".to_owned()));
        case(
            "ENV A=1 B=\"x y\"",
            &Instruction::Env(vec![pair("A", "1"), pair("B", "\"x y\"")]),
        );
        case(
            "ENV A some words",
            &Instruction::Env(vec![pair("A", "some words")]),
        );
        case("LABEL a=b", &Instruction::Label(vec![pair("a", "b")]));
        case(
            "EXPOSE 80 443/tcp",
            &Instruction::Expose(strings(&["80", "443/tcp"])),
        );
        case("USER 1000", &Instruction::User("1000".to_owned()));
        case(
            r#"CMD ["a", "b c"]"#,
            &Instruction::Cmd(Invocation::Exec(strings(&["a", "b c"]))),
        );
        case(
            "ENTRYPOINT a $B",
            &Instruction::Entrypoint(Invocation::Shell("a $B".to_owned())),
        );
        case(
            "STOPSIGNAL SIGINT",
            &Instruction::StopSignal("SIGINT".to_owned()),
        );
        case(
            "HEALTHCHECK CMD curl x",
            &Instruction::Healthcheck(Healthcheck {
                test: strings(&["CMD-SHELL", "curl x"]),
                ..Healthcheck::default()
            }),
        );
        case(
            "ARG A B=1",
            &Instruction::Arg {
                variables: vec![
                    ("A".to_owned(), None),
                    ("B".to_owned(), Some("1".to_owned())),
                ],
            },
        );
    }

    #[test]
    fn what_needs_docker_is_refused_by_name_and_line() {
        refused("FROM a\n\nRUN npm install", 3, "RUN needs Docker: ");
        refused("FROM a\nVOLUME /x", 2, "VOLUME needs Docker");
        refused("FROM a\nONBUILD COPY a b", 2, "ONBUILD needs Docker");
        refused("FROM a AS b\nFROM c\nRUN x", 3, "RUN needs Docker");
        refused(
            "FROM a\nADD https://example.com/x /x",
            2,
            "download the file",
        );
        refused("FROM a\nADD x.tar.xz /x", 2, "pack it as .tar");
        refused("FROM a\nADD --from=x a /x", 2, "--from");
        refused("FROM a\nCOPY <<EOF /x\nhello\nEOF", 2, "here-document");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        refused("", 1, "begins with FROM");
        refused("# nothing\n", 1, "begins with FROM");
        refused("\nCMD a\nFROM b", 2, "CMD stands before FROM");
        refused("FROM a\nCOPPY a b", 2, "did you mean COPY?");
        refused(
            "FROM a\nXYZZYXYZZY",
            2,
            "\"XYZZYXYZZY\" is not an instruction",
        );
        refused("FROM", 1, "FROM image");
        refused("FROM a b", 1, "FROM image");
        refused("FROM --platform=plan9/mips a", 1, "--platform");
        refused("FROM a\nCOPY a", 2, "COPY source");
        refused("FROM a\nCOPY --parents a b", 2, "--parents");
        refused("FROM a\nCOPY --chmod=999 a b", 2, "octal");
        refused("FROM a\nCOPY 'a b", 2, "quote");
        refused("FROM a\nENV A", 2, "ENV NAME=value");
        refused("FROM a\nENV A=1 B", 2, "ENV NAME=value");
        refused("FROM a\nCMD", 2, "CMD");
        refused("FROM a\nCMD ['a']", 2, "double quotes");
        refused("FROM a\nWORKDIR", 2, "WORKDIR /path");
        refused("FROM a \\\n\n # x\n\nEXPOSE", 1, "FROM image");
    }
}
