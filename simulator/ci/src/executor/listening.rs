//! What becomes of a step's output: shown, kept, and heard where it is meant for the runner.

use serde_json::{Map, Value};

use super::process::Output;
use super::recorder::Recorder;
use crate::commands::{Listener, Said};
use crate::console::annotation;
use crate::runs::Annotation;

/// Annotations of a step that are kept, as on GitHub.
const ANNOTATIONS_MAX: usize = 10;

/// Columns before a step's output.
const INDENT: usize = 4;

/// Listens to one step.
pub(super) struct Listening<'r, 'a> {
    recorder: &'r mut Recorder<'a>,
    job: usize,
    step: usize,
    listener: Listener,
    in_group: bool,
    announced: bool,
    heard: Heard,
}

/// What the step told its runner.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Outputs by `::set-output::`.
    pub(super) outputs: Map<String, Value>,
    /// Why a command that it used is switched off.
    pub(super) disabled: Option<&'static str>,
}

impl<'r, 'a> Listening<'r, 'a> {
    pub(super) fn new(recorder: &'r mut Recorder<'a>, job: usize, step: usize) -> Self {
        Self {
            recorder,
            job,
            step,
            listener: Listener::default(),
            in_group: false,
            announced: false,
            heard: Heard::default(),
        }
    }

    /// What it heard.
    pub(super) fn finish(self) -> Heard {
        self.heard
    }

    /// A line as it is.
    pub(super) fn say(&mut self, line: &str) {
        self.announce();
        let shown = self.recorder.keep(line);
        let indent = if self.in_group { INDENT + 2 } else { INDENT };
        self.recorder.say(indent, &shown);
    }

    /// The step's name, once, before its output: a quick and quiet one needs no such line.
    fn announce(&mut self) {
        if self.announced {
            return;
        }
        self.announced = true;
        let name = self.recorder.step(self.job, self.step).name.clone();
        self.recorder.say(2, &format!("▸ {name}"));
    }

    fn annotate(&mut self, annotation_said: Annotation) {
        self.say(&annotation(&annotation_said));
        let masks = self.recorder.masks.clone();
        let annotations = &mut self.recorder.step(self.job, self.step).annotations;
        if annotations.len() < ANNOTATIONS_MAX {
            annotations.push(Annotation {
                message: masks.apply(&annotation_said.message),
                title: annotation_said.title.map(|title| masks.apply(&title)),
                ..annotation_said
            });
        }
    }
}

impl Output for Listening<'_, '_> {
    fn line(&mut self, line: &str) {
        match self.listener.hear(line) {
            Said::Text(text) => self.say(&text),
            Said::Group(title) => {
                self.in_group = false;
                self.say(&format!("▾ {title}"));
                self.in_group = true;
            }
            Said::EndGroup => self.in_group = false,
            Said::Annotation(annotation) => self.annotate(annotation),
            Said::Debug(text) => {
                // In the log for those who look for it, not in everybody's way.
                self.recorder.keep(&format!("debug: {text}"));
            }
            Said::Mask(value) => self.recorder.masks.add(&value),
            Said::Output(name, value) => {
                let hint = format!(
                    "warning: ::set-output:: is deprecated: write {name}=… to the file $GITHUB_OUTPUT"
                );
                self.say(&hint);
                self.heard.outputs.insert(name, Value::String(value));
            }
            Said::Nothing => {}
            Said::Disabled(why) => self.heard.disabled = Some(why),
        }
    }

    fn tick(&mut self) {
        self.announce();
    }
}
