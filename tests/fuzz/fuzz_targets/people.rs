//! A list of people of any text: who is in it can be found, and sees what it says at most.

#![no_main]

use karute_server::access::people::People;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(people) = People::parse(text) else { return };
    for word in text.split(['"', '\'']) {
        let address = word.trim().to_ascii_lowercase();
        if let Some(person) = people.find(&address) {
            let _ = person.caller(address.clone());
        }
    }
});
