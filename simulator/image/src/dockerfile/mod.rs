//! Dockerfiles: text to instructions, each with its line.
//!
//! Three steps, none of which reads a file: `lines.rs` joins continued lines and drops comments,
//! [`parse`] makes instructions of them, and `words.rs` splits words, takes quotes away and
//! replaces variables (which needs to know what was set before, so the builder does it).
//! <https://docs.docker.com/reference/dockerfile/>

mod healthcheck;
mod lines;
mod parse;
mod words;

pub use lines::{Line, join};
pub use parse::{Instruction, Invocation, Step, parse};
pub use words::expand;
pub(crate) use words::split;

/// What is wrong with a line. The text completes `Dockerfile:3: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no instruction.
    #[error(
        "there is no instruction; a Dockerfile begins with FROM, for example: FROM devops-lab/runtime:1"
    )]
    Empty,
    /// Something else than `ARG` stands before `FROM`.
    #[error(
        "{instruction} stands before FROM; begin with FROM, for example: FROM devops-lab/runtime:1"
    )]
    BeforeFrom {
        /// The instruction.
        instruction: String,
    },
    /// The instruction needs a container runtime, or is beyond this builder.
    #[error("{what} needs Docker: {advice}")]
    NeedsDocker {
        /// The instruction or flag.
        what: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// There is no such instruction.
    #[error("{name:?} is not an instruction{}", suggestion(*.like))]
    Unknown {
        /// What was written.
        name: String,
        /// The instruction that may have been meant.
        like: Option<&'static str>,
    },
    /// Too few words, or too many.
    #[error("{instruction} is written: {form}")]
    Form {
        /// The instruction.
        instruction: &'static str,
        /// How it is written.
        form: &'static str,
    },
    /// A flag that the instruction does not have here.
    #[error(
        "{instruction} does not take the flag {flag} here; leave it out or build with docker build"
    )]
    Flag {
        /// The instruction.
        instruction: &'static str,
        /// The flag.
        flag: String,
    },
    /// A quote that never ends.
    #[error("a {0} quote is not closed")]
    Quote(char),
    /// A variable that is written wrong.
    #[error(
        "${{{0}}} is not a variable; write $NAME, ${{NAME}}, ${{NAME:-default}} or ${{NAME:+value}}"
    )]
    Variable(String),
    /// A bracket begins something that is not a list.
    #[error(
        "what begins with [ is not a JSON list of strings; use double quotes and commas, for example: {example}"
    )]
    List {
        /// A right one.
        example: &'static str,
    },
    /// A value that the instruction cannot take.
    #[error("{value:?} is not {expected}")]
    Value {
        /// What was written.
        value: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A source of `COPY` that is not in the context.
    #[error("COPY cannot find {path:?} in {context}; paths are relative to it")]
    SourceMissing {
        /// The source.
        path: String,
        /// The directory.
        context: String,
    },
    /// A source of `COPY` that is ignored.
    #[error("COPY of {path:?}: .dockerignore leaves it out; remove the line there that matches it")]
    SourceIgnored {
        /// The source.
        path: String,
    },
    /// A source of `COPY` outside of the context.
    #[error(
        "COPY of {path:?}: only files inside the build's directory can be copied; move the file there"
    )]
    SourceOutside {
        /// The source.
        path: String,
    },
    /// A source that is neither file, directory nor link.
    #[error(
        "COPY of {path:?}: it is a socket, a pipe or a device; leave it out with .dockerignore"
    )]
    SourceKind {
        /// The source.
        path: String,
    },
    /// A name that the image does not know.
    #[error(
        "--chown: the image's {file} has no {name:?}; write the number instead, for example --chown=10001:10001"
    )]
    UnknownOwner {
        /// The name.
        name: String,
        /// The file that lacks it.
        file: &'static str,
    },
    /// Several sources and one target that is not a directory.
    #[error("COPY of several files needs a directory to copy to; end {destination:?} with a slash")]
    DestinationNotDirectory {
        /// The target.
        destination: String,
    },
}

fn suggestion(like: Option<&'static str>) -> String {
    like.map_or_else(String::new, |like| format!("; did you mean {like}?"))
}
