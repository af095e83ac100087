use std::collections::HashMap;

use super::*;

#[test]
fn the_stream_is_the_published_one() {
    let mut stream = SplitMix64(1_234_567);
    let words = [stream.next(), stream.next(), stream.next()];
    assert_eq!(
        words,
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
    );
}

#[test]
fn the_lab_profile_has_its_golden_figures() {
    let mut data = Profile::lab(430).data();
    let stock: i64 = data.products.iter().map(|it| it.stock).sum();
    assert_eq!(stock, 5_021_803);
    let first = &data.products[0];
    assert_eq!(
        (first.product.name.as_str(), first.product.price, first.stock),
        ("Light Scanner 1", Cents::new(140_999), 336)
    );

    let orders: Vec<_> = data.orders.by_ref().collect();
    assert_eq!(orders.len(), 80_000);
    let mut by_lines = [0; 6];
    let (mut units, mut total, mut spent) = (0, 0, HashMap::<i64, i64>::new());
    for it in &orders {
        by_lines[it.order.lines.len()] += 1;
        units += it.order.lines.iter().map(|line| line.quantity).sum::<i64>();
        total += it.order.total.number();
        *spent.entry(it.order.user.number()).or_default() += it.order.total.number();
    }
    assert_eq!(by_lines, [0, 16_001, 16_189, 16_018, 16_058, 15_734]);
    assert_eq!((units, total), (478_781, 47_670_773_706));
    let most = spent.into_iter().max_by_key(|(_, cents)| *cents);
    assert_eq!(most, Some((671, 67_731_833)));

    let first = &orders[0];
    assert_eq!((first.order.user.number(), first.order.total), (891, Cents::new(567_681)));
    assert_eq!(first.created_at, 1_740_220_441);
}

#[test]
fn the_canonical_text_of_the_lab_profile_has_its_golden_hash() {
    let mut data = Profile::lab(430).data();
    let mut text = Canonical::default();
    data.users.iter().for_each(|(id, user)| text.user(*id, user));
    data.products.iter().for_each(|it| text.product(it));
    data.orders.by_ref().for_each(|it| text.order(&it));
    assert_eq!(text.finish(), "e01e4509445dd14e677a42a31fef1bace9fe2bf6f58d44f680f968f30e7ee578");
}

#[test]
fn an_order_has_no_more_lines_than_there_are_products() {
    let volume =
        Volume { users: 1, products: 2, orders: 5, items_min: 100, items_max: 100, seed: 1 };
    let lines = Profile::Drawn("custom", volume).data().orders.map(|it| it.order.lines.len());
    assert_eq!(lines.collect::<Vec<_>>(), [2; 5]);
}
