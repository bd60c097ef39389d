//! Who a tab is: the same over a reload, and nobody else's when the browser has copied it.

use super::support::PROBE;
use super::support::browser_test;
use super::support::chromium::Browser;
use super::support::page::Page;
use super::support::server::Server;
use super::{JOINED, SOON};

/// A call whose page makes up its own identity; `script` runs before it does.
async fn join(browser: &Browser, server: &Server, name: &str, script: &str) -> Result<Page, String> {
    let url = server.url("tabs", name).replace(&format!("&identity={name}"), "&video=0&audio=0");
    let page = browser.open(&url, &[PROBE, script]).await?;
    page.until(JOINED, SOON).await?;
    Ok(page)
}

async fn identity_of(page: &Page) -> Result<String, String> {
    page.eval("sfu.self.identity").await
}

/// A tab's storage as a browser copies it when the tab is duplicated: once, not at a reload.
fn copied(identity: &str) -> String {
    format!(
        "if (!sessionStorage.getItem('sfu.identity')) sessionStorage.setItem('sfu.identity', '{identity}');"
    )
}

#[test]
fn a_duplicated_tab_is_somebody_else_and_a_reload_is_not() {
    browser_test("a_duplicated_tab_is_somebody_else_and_a_reload_is_not", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let tab = join(&browser, &server, "ann", "").await?;
        let ann = identity_of(&tab).await?;
        let duplicate = join(&browser, &server, "bob", &copied(&ann)).await?;
        let bob = identity_of(&duplicate).await?;
        if ann == bob {
            return Err(format!("both tabs are {ann}"));
        }
        tab.until("sfu.state === 'joined' && sfu.participants.length === 1", SOON).await?;
        for (page, identity, other) in [(&tab, &ann, &duplicate), (&duplicate, &bob, &tab)] {
            for _ in 0..3 {
                page.eval::<()>("void (window.old = true)").await?;
                page.reload().await?;
                page.until(&format!("!window.old && {JOINED}"), SOON).await?;
                if identity_of(page).await? != *identity {
                    return Err(format!("{identity} became {} by a reload", identity_of(page).await?));
                }
                let back = format!("sfu.participants.map((one) => one.identity).join() === '{identity}'");
                other.until(&back, SOON).await?;
            }
        }
        // A tab that is closed leaves its identity to a copy, as it does to one that is opened again.
        tab.close().await?;
        let again = join(&browser, &server, "ann", &copied(&ann)).await?;
        match identity_of(&again).await? {
            identity if identity == ann => Ok(()),
            identity => Err(format!("{ann} became {identity}")),
        }
    });
}
