//! Generates the code of the contract: messages and client by tonic, and descriptors for JSON.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let contract = "../../../../protos";
    println!("cargo:rerun-if-changed={contract}");
    let files = protox::compile(["mailroom/v1/mailroom.proto"], [contract])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;

    let lock = std::fs::read_to_string("Cargo.lock")?;
    let tonic = lock.split("name = \"tonic\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
    println!("cargo:rustc-env=TONIC_VERSION={}", tonic.ok_or("Cargo.lock has no tonic")?);
    let rustc = std::process::Command::new(std::env::var("RUSTC")?).arg("--version").output()?.stdout;
    let version = String::from_utf8(rustc)?;
    println!("cargo:rustc-env=RUST_VERSION={}", version.split(' ').nth(1).ok_or("no version of rustc")?);
    Ok(())
}
