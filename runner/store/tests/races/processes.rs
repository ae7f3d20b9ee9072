//! Real processes on one folder.

use crate::kills::killed_workers_leave_one_ledger;
use crate::setting::folder;

#[tokio::test]
async fn processes_killed_ten_times_leave_the_same_ledger_and_no_torn_file() {
    let (_folder, store) = folder();
    killed_workers_leave_one_ledger(&store, &[]).await;
}
