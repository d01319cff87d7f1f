"""A page with the web SDK in a real browser: page view, session, track, the person, a server that is away for a while."""

import http.server
import sys
import threading

from playwright.sync_api import sync_playwright

server, key, browser = sys.argv[1], sys.argv[2], sys.argv[3]

PAGE = f"""<!doctype html><html lang="en"><title>Shoes</title>
<script>window.pe = {{ q: [] }};</script>
<script src="{server}/sdk/milepost.js"></script>
<script>pe.init("{key}");</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_):
        pass


pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
threading.Thread(target=pages.serve_forever, daemon=True).start()
site = f"http://127.0.0.1:{pages.server_port}"

with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
    page = chromium.new_page()
    page.goto(f"{site}/shoes?utm_source=mail&utm_campaign=may")
    stored = page.evaluate("pe.track('seatReserved', { venueId: 17, seats: [{ row: 'C', price: 31.25 }] })")
    assert stored["verdict"] == "stored", stored
    refused = page.evaluate("pe.track('seatReserved', { venue: 17 }).catch(error => error.message)")
    assert "venue" in refused, refused
    early = page.evaluate("pe.updatePerson({ firstName: 'Ana' }).catch(error => error.message)")
    assert "setPerson" in early, early
    page.evaluate("pe.setPerson({ email: 'a.guest@example.net' })")
    changed = page.evaluate("pe.updatePerson({ firstName: 'Ana', customAttributes: { tier: 'gold' } })")
    assert changed["status"] == "UPDATED", changed
    page.evaluate("pe.appendToList('wishlist', { sku: 'x1' })")
    assert page.evaluate("pe.appendToList('wishlist', [{ sku: 'x2' }])")["status"] == "UPDATED"
    wrong = page.evaluate("pe.appendToList('wishlst', { sku: 'x1' }).catch(error => error.message)")
    assert "wishlst" in wrong, wrong
    assert page.evaluate("pe.track('seatReserved', { venueId: 18 })")["verdict"] == "stored"
    # The way to the server is cut; what is tracked meanwhile arrives when it is there again.
    page.route("**/v1/web/events", lambda route: route.abort())
    page.evaluate("window.later = pe.track('seatReserved', { venueId: 19 }); undefined")
    page.wait_for_timeout(300)
    page.unroute("**/v1/web/events")
    assert page.evaluate("window.later")["verdict"] == "stored"
    page.evaluate("pe.forgetPerson()")
    page.evaluate("pe.setPerson({ externalId: 'crm-9' })")
    customer = page.evaluate("pe.updatePerson({ firstName: 'Bo' }).catch(error => error.message)")
    assert "customer" in customer, customer
    page.evaluate("pe.forgetPerson()")
    assert page.evaluate("pe.track('seatReserved', { venueId: 20 })")["verdict"] == "stored"
    # What is tracked as the page closes goes along with it.
    page.route("**/v1/web/events", lambda route: route.continue_() if route.request.resource_type == "ping" else route.abort())
    page.evaluate("pe.track('seatReserved', { venueId: 21 }); undefined")
    page.goto("about:blank")
    page.wait_for_timeout(500)
    chromium.close()
print("fine")
