//! The shop as data: what its services do for a request, and what goes wrong.
//!
//! Cards of one brand are slow to charge, one warehouse is often out of stock, one region has a slow search, and old clients
//! send carts that cannot be read: each is found by its attribute.

/// What a service does: its own work, the statements that it runs, and the calls it makes, those of one list at the same
/// time.
pub(super) struct Operation {
    pub name: &'static str,
    pub work_ms: f64,
    pub queries: &'static [&'static str],
    pub calls: &'static [&'static [&'static str]],
}

/// What visitors ask for, and how often.
pub(super) const VISITS: &[(&str, u64)] = &[
    ("storefront/GET /", 30),
    ("storefront/GET /product/{id}", 28),
    ("storefront/GET /search", 18),
    ("storefront/POST /cart", 10),
    ("storefront/POST /checkout", 9),
    ("storefront/POST /assistant", 5),
];

const fn operation(
    name: &'static str,
    work_ms: f64,
    queries: &'static [&'static str],
    calls: &'static [&'static [&'static str]],
) -> Operation {
    Operation { name, work_ms, queries, calls }
}

pub(super) const OPERATIONS: &[Operation] = &[
    operation("storefront/GET /", 4.0, &[], &[&["catalog/ListProducts", "recommend/Suggest", "ads/Pick"]]),
    operation(
        "storefront/GET /product/{id}",
        3.0,
        &[],
        &[&["catalog/GetProduct"], &["recommend/Suggest", "stock/Check"]],
    ),
    operation("storefront/GET /search", 3.0, &[], &[&["search/Query"]]),
    operation("storefront/POST /cart", 2.0, &[], &[&["cart/AddItem"]]),
    operation("storefront/POST /checkout", 5.0, &[], &[&["checkout/PlaceOrder"]]),
    operation("storefront/POST /assistant", 4.0, &[], &[&["assistant/Answer"]]),
    operation("catalog/ListProducts", 3.0, &["SELECT * FROM products WHERE shown", "SELECT * FROM prices"], &[]),
    operation("catalog/GetProduct", 2.0, &["SELECT * FROM products WHERE id = $1"], &[]),
    operation("recommend/Suggest", 9.0, &[], &[&["catalog/GetProduct", "catalog/GetProduct"]]),
    operation("ads/Pick", 2.0, &[], &[]),
    operation("stock/Check", 2.0, &["SELECT amount FROM stock WHERE id = $1"], &[]),
    operation(
        "stock/Reserve",
        3.0,
        &["SELECT amount FROM stock WHERE id = $1 FOR UPDATE", "UPDATE stock SET amount = amount - $2 WHERE id = $1"],
        &[],
    ),
    operation("search/Query", 18.0, &["SELECT id FROM words WHERE word = ANY($1)"], &[]),
    operation("cart/AddItem", 2.0, &["INSERT INTO items VALUES ($1, $2, $3)"], &[]),
    operation("cart/GetCart", 2.0, &["SELECT * FROM items WHERE cart = $1"], &[]),
    operation(
        "checkout/PlaceOrder",
        4.0,
        &["INSERT INTO orders VALUES ($1, $2)"],
        &[&["cart/GetCart"], &["stock/Reserve", "shipping/Quote"], &["payment/Charge"]],
    ),
    operation("shipping/Quote", 6.0, &[], &[]),
    operation("payment/Charge", 25.0, &[], &[&["fraud/Score"]]),
    operation("fraud/Score", 12.0, &[], &[]),
    operation("assistant/Answer", 6.0, &[], &[]),
];

pub(super) fn find(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}

pub(super) const REGIONS: [&str; 3] = ["eu-west-1", "eu-central-1", "us-east-1"];
pub(super) const SLOW_REGION: &str = "us-east-1";
pub(super) const BRANDS: [&str; 3] = ["visa", "mastercard", "amex"];
pub(super) const SLOW_BRAND: &str = "amex";
pub(super) const WAREHOUSES: [&str; 3] = ["north", "south", "east"];
pub(super) const FAILING_WAREHOUSE: &str = "north";
pub(super) const TIERS: [&str; 3] = ["free", "plus", "business"];
pub(super) const CLIENTS: [&str; 4] = ["web/4.2", "ios/7.1", "android/7.1", "android/5.0"];
pub(super) const OLD_CLIENT: &str = "android/5.0";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_leads_to_an_operation() {
        let visits = VISITS.iter().map(|(name, _)| *name);
        let calls =
            OPERATIONS.iter().flat_map(|operation| operation.calls).flat_map(|together| together.iter().copied());
        for name in visits.chain(calls) {
            assert!(find(name).is_some(), "{name}");
        }
        let services: BTreeSet<_> =
            OPERATIONS.iter().filter_map(|operation| operation.name.split('/').next()).collect();
        assert_eq!(services.len(), 12, "{services:?}, and mail beside them");
    }
}
