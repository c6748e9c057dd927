//! Every process is killed in turn during a load; nothing acknowledged is lost.

use longbow_harness::slaughter;

use crate::shared::binary;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_of_each_process_loses_nothing() {
    let verdict = slaughter::run(binary(), 10_000, 1).await.unwrap();
    println!("{verdict:?}");
}
