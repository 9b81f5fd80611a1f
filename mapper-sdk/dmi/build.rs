//! Compiles the contract without a system protoc.

use std::error::Error;
use std::path::PathBuf;

use protox::Compiler;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = Compiler::new(["proto"])?;
    compiler.include_imports(true).open_file("proto/dmi.proto")?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("dmi.bin"), compiler.encode_file_descriptor_set())?;
    compiler.include_source_info(true);
    tonic_prost_build::configure().btree_map(".").compile_fds(compiler.file_descriptor_set())?;
    let mut ours = Compiler::new(["proto"])?;
    ours.include_source_info(true).open_file("proto/frames.proto")?;
    tonic_prost_build::configure().compile_fds(ours.file_descriptor_set())?;
    Ok(())
}
