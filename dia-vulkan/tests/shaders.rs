//! The committed SPIR-V is what the compiler makes of the GLSL: see README.md.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use shaderc::{
    CompileOptions, Compiler, EnvVersion, OptimizationLevel, ResolvedInclude, ShaderKind, TargetEnv,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Files in `shaders/` with this extension.
fn files(extension: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The SPIR-V 1.3 of a shader, as bytes.
fn compiled(source: &Path) -> Result<Vec<u8>> {
    let compiler = Compiler::new().ok_or("no GLSL compiler")?;
    let mut options = CompileOptions::new().ok_or("no options of the GLSL compiler")?;
    options.set_target_env(TargetEnv::Vulkan, EnvVersion::Vulkan1_1 as u32);
    // The driver optimises, when it knows the specialisation constants.
    options.set_optimization_level(OptimizationLevel::Zero);
    options.set_warnings_as_errors();
    options.set_include_callback(|name, _, _, _| {
        let path = source.with_file_name(name);
        let content = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(ResolvedInclude { resolved_name: name.into(), content })
    });
    // The name goes into messages only: the words are the same wherever the repository lies.
    let name = source.file_name().ok_or("no file name")?.to_string_lossy();
    let glsl = fs::read_to_string(source)?;
    let spirv =
        compiler.compile_into_spirv(&glsl, ShaderKind::Compute, &name, "main", Some(&options))?;
    Ok(spirv.as_binary_u8().to_vec())
}

#[test]
fn sources_and_words_agree() -> Result<()> {
    let write = std::env::var("DIA_WRITE_SPIRV").is_ok_and(|value| value == "1");
    let sources = files("comp")?;
    let mut different = Vec::new();
    for source in &sources {
        let words = source.with_extension("spv");
        let expected = compiled(source)?;
        if write {
            fs::write(&words, &expected)?;
        } else if fs::read(&words).ok() != Some(expected) {
            different.push(words.display().to_string());
        }
    }
    assert!(
        different.is_empty(),
        "not what the compiler makes of the sources: {different:?}; where a source has changed, \
         DIA_WRITE_SPIRV=1 writes them anew; another version of the compiler may make other words"
    );
    // No words without a source.
    let names = |files: Vec<PathBuf>| files.into_iter().map(|f| f.with_extension("")).collect();
    let (sources, words): (Vec<_>, Vec<_>) = (names(sources), names(files("spv")?));
    assert_eq!(sources, words);
    assert!(!sources.is_empty());
    Ok(())
}
