//! Whatever stands in the files and on the command line of the simulator: it is refused with a reason, or runs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sim_modbus::{Blueprint, Fault, Simulation, Table};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

fuzz_target!(|text: &str| {
    if let Ok(fault) = text.parse::<Fault>() {
        assert_eq!(fault.to_string().parse(), Ok(fault));
    }
    let _ = Blueprint::stations(text);
    match Blueprint::parse(text) {
        Err(error) => assert!(!error.problems.is_empty() && !error.to_string().is_empty()),
        Ok(blueprint) => RUNTIME.with(|runtime| {
            // Its clock is the runtime's.
            let _inside = runtime.enter();
            let simulation = Simulation::new(blueprint);
            let handle = simulation.handle();
            for unit in handle.units() {
                for table in [Table::Coils, Table::Discrete, Table::Input, Table::Holding] {
                    let _ = handle.read(unit, table, 0, 8);
                }
            }
        }),
    }
});
