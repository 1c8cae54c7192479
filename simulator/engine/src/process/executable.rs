//! Looks into the first bytes of a program to say, before it is started, whether and how this
//! machine can run it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Number of the program header that names the dynamic loader (`PT_INTERP`).
const INTERPRETER_HEADER: u32 = 3;

/// Longest script line or loader path that is read; Linux itself reads 256 bytes of a script.
const MAX_LINE: usize = 4096;

/// What kind of program a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Executable {
    /// A program that needs nothing but the kernel, or a format that the kernel must judge.
    Plain,
    /// A program that is loaded by another one: the path of that loader.
    Dynamic(String),
    /// A script: the path of its interpreter, and at most one argument for it.
    Script(String, Option<String>),
}

/// Reads the head of `file`.
pub(super) fn inspect(file: &Path) -> io::Result<Executable> {
    let mut file = File::open(file)?;
    let head = read_up_to(&mut file, MAX_LINE)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        return Ok(script(line));
    }
    if !head.starts_with(b"\x7fELF") {
        return Ok(Executable::Plain);
    }
    Ok(match loader(&mut file, &head)? {
        Some(path) => Executable::Dynamic(path),
        None => Executable::Plain,
    })
}

fn read_up_to(file: &mut File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn script(line: &[u8]) -> Executable {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let line = line.trim();
    match line.split_once(char::is_whitespace) {
        Some((interpreter, argument)) => {
            Executable::Script(interpreter.into(), Some(argument.trim().into()))
        }
        None => Executable::Script(line.into(), None),
    }
}

/// The loader that a 64-bit little-endian ELF program names; other kinds are left to the
/// kernel. Layout: <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>
fn loader(file: &mut File, head: &[u8]) -> io::Result<Option<String>> {
    const CLASS_64: u8 = 2;
    const LITTLE_ENDIAN: u8 = 1;
    if head.len() < 64 || head[4] != CLASS_64 || head[5] != LITTLE_ENDIAN {
        return Ok(None);
    }
    let (table, size, count) = (
        number(head, 32, 8),
        number(head, 54, 2),
        number(head, 56, 2),
    );
    for index in 0..count {
        file.seek(SeekFrom::Start(table.saturating_add(index * size)))?;
        let header = read_up_to(file, 56)?;
        if header.len() == 56 && number(&header, 0, 4) == u64::from(INTERPRETER_HEADER) {
            file.seek(SeekFrom::Start(number(&header, 8, 8)))?;
            let length = usize::try_from(number(&header, 32, 8))
                .unwrap_or(MAX_LINE)
                .min(MAX_LINE);
            let path = read_up_to(file, length)?;
            return Ok(Some(
                String::from_utf8_lossy(&path)
                    .trim_end_matches('\0')
                    .to_owned(),
            ));
        }
    }
    Ok(None)
}

/// The little-endian number of `length` bytes at `at`.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &[u8], expected: &Executable) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("program");
        std::fs::write(&file, content).unwrap();
        assert_eq!(&inspect(&file).unwrap(), expected);
    }

    fn elf_with_loader(loader: &[u8]) -> Vec<u8> {
        let mut file = vec![0_u8; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 3;
        file[64 + 8] = 120;
        file[64 + 32] = u8::try_from(loader.len()).unwrap();
        file.extend_from_slice(loader);
        file
    }

    #[test]
    fn scripts_name_their_interpreter() {
        check(
            b"#!/bin/sh\necho hi\n",
            &Executable::Script("/bin/sh".into(), None),
        );
        check(
            b"#! /usr/bin/env  python3 -u\n",
            &Executable::Script("/usr/bin/env".into(), Some("python3 -u".into())),
        );
    }

    #[test]
    fn dynamic_programs_name_their_loader() {
        check(
            &elf_with_loader(b"/lib/ld-musl-x86_64.so.1\0"),
            &Executable::Dynamic("/lib/ld-musl-x86_64.so.1".into()),
        );
    }

    #[test]
    fn everything_else_is_left_to_the_kernel() {
        check(b"", &Executable::Plain);
        check(b"\x7fELF", &Executable::Plain);
        check(b"hello", &Executable::Plain);
        let this_test = std::env::current_exe().unwrap();
        assert_eq!(
            inspect(&this_test).unwrap(),
            Executable::Plain,
            "the workspace builds static programs"
        );
    }
}
