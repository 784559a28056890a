//! The bridge that new instances hang on.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::Planner;
use crate::facts::{has_nic, Config, Ipv4Network, Reference};
use crate::step::{NetworkSpec, Owner, Step};

impl Planner {
    /// Gives profile `default` a network card, where it has none and no instance would notice.
    pub(super) fn plan_network(&mut self) {
        let reference = Reference::new("default", "default");
        let Some(profile) = self.server().profile(&reference).cloned() else {
            return;
        };
        if has_nic(&profile.devices) {
            return;
        }
        let users: Vec<String> = self
            .server()
            .instances
            .iter()
            .filter(|instance| instance.profiles.contains(&reference))
            .map(|instance| instance.reference.to_string())
            .collect();
        if !users.is_empty() {
            // A card in the profile is plugged into every instance that uses it, at once.
            self.note(
                format!(
                    "profile default has no network card; giving it one would plug it into {}",
                    users.join(", ")
                ),
                Some(
                    "if you want that: incus profile device add default eth0 nic network=NAME \
                     name=eth0"
                        .into(),
                ),
            );
            return;
        }
        let whole = self.existing_bridge(true);
        let network = whole.unwrap_or_else(|| self.make_bridge());
        let device = ["eth0", "nic0"]
            .into_iter()
            .find(|name| !profile.devices.contains_key(*name))
            .unwrap_or("taos-nic");
        let keys = [("type", "nic"), ("network", &network), ("name", "eth0")];
        self.push(Step::SetDevice {
            owner: Owner::Profile { name: reference },
            device: device.into(),
            from: None,
            to: Some(
                keys.map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into_iter()
                    .collect::<Config>(),
            ),
        });
    }

    /// Makes one, or goes on with one that is not on all members of the cluster yet.
    fn make_bridge(&mut self) -> String {
        self.needs.push("dnsmasq");
        let begun = self.existing_bridge(false);
        let name = begun.unwrap_or_else(|| free_name(&self.taken_names()));
        let network = NetworkSpec {
            name: name.clone(),
            fallback: free_subnet(&self.facts.host.ipv4_networks, self.facts.host.seed),
            members: self.server().members.clone(),
        };
        self.push(Step::CreateNetwork { network });
        name
    }

    fn taken_names(&self) -> BTreeSet<String> {
        let networks = self.server().networks.iter();
        let interfaces = self.facts.host.interfaces.iter().cloned();
        interfaces
            .chain(networks.map(|network| network.name.clone()))
            .collect()
    }

    fn existing_bridge(&self, whole: bool) -> Option<String> {
        let mut bridges: Vec<&str> = self
            .server()
            .networks
            .iter()
            .filter(|network| network.kind == "bridge" && network.project == "default")
            .filter(|network| network.is_whole() == whole)
            .map(|network| network.name.as_str())
            // Those of other people's restricted projects are theirs.
            .filter(|name| !name.starts_with("incusbr-"))
            .collect();
        bridges.sort_by_key(|name| (*name != "incusbr0", name.to_owned()));
        bridges.first().map(|name| (*name).to_owned())
    }
}

fn free_name(interfaces: &BTreeSet<String>) -> String {
    (0..)
        .map(|number| format!("incusbr{number}"))
        .find(|name| !interfaces.contains(name))
        .unwrap_or_default()
}

/// A /24 of the private ranges that no known network overlaps, as the bridge's address in it.
///
/// Begins at a place that differs between machines: two that are joined by a VPN one day should
/// not have taken the same one.
fn free_subnet(taken: &[Ipv4Network], seed: u64) -> String {
    // Odd, so coprime with each range's size, so that every subnet comes up once.
    const STRIDE: u32 = 7919;
    let seed = u32::try_from(seed & 0xffff).unwrap_or_default();
    // The first address, and how many bits number the /24s in it (RFC 1918).
    let ranges = [
        (Ipv4Addr::new(10, 0, 0, 1), 16),
        (Ipv4Addr::new(172, 16, 0, 1), 12),
        (Ipv4Addr::new(192, 168, 0, 1), 8),
    ];
    ranges
        .into_iter()
        .flat_map(|(first, bits)| {
            (0..1u32 << bits).map(move |step| {
                let number = seed.wrapping_add(step.wrapping_mul(STRIDE)) & ((1 << bits) - 1);
                Ipv4Addr::from(u32::from(first) | (number << 8))
            })
        })
        .map(|address| Ipv4Network {
            address,
            prefix: 24,
        })
        .find(|candidate| !taken.iter().any(|network| network.overlaps(*candidate)))
        .map_or_else(|| "none".into(), |network| network.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Ipv4Network {
        let (address, prefix) = text.split_once('/').unwrap();
        Ipv4Network {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    #[test]
    fn a_free_subnet_overlaps_nothing() {
        let taken = [
            network("10.0.0.0/9"),
            network("10.128.0.0/10"),
            network("192.168.1.5/24"),
        ];
        for seed in [0, 1, 77, u64::MAX] {
            let found = network(&free_subnet(&taken, seed));
            assert!(found.address.octets()[1] >= 192, "{found}");
            assert_eq!(found.address.octets()[3], 1);
        }
        let mut taken = vec![network("10.0.0.0/8")];
        assert_eq!(free_subnet(&taken, 3), "172.16.3.1/24");
        taken.push(network("172.16.0.0/12"));
        assert_eq!(free_subnet(&taken, 257), "192.168.1.1/24");
        taken.push(network("192.168.0.0/16"));
        assert_eq!(free_subnet(&taken, 3), "none");
    }

    #[test]
    fn a_bridge_takes_no_interface_s_name() {
        let taken = ["lo", "incusbr0", "incusbr1"].map(String::from).into();
        assert_eq!(free_name(&taken), "incusbr2");
    }
}
