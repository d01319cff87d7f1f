// The web SDK: who visits, what they do, and a queue that loses nothing. Served by the server itself, so that a page and
// its server always fit together. Types: milepost.d.ts.
(function (root) {
  "use strict";

  var SESSION_IDLE = 30 * 60 * 1000;
  var VISITOR_IDLE = 45 * 24 * 60 * 60 * 1000;
  var PERSON_TTL = 1800;
  var QUEUED_AT_MOST = 1000;
  var SENT_TOGETHER = 50;
  var WAIT_AT_FIRST = 1000;
  var WAIT_AT_MOST = 60000;
  var UTM = ["utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"];

  var script = root.document && root.document.currentScript;
  var options = { url: script && script.src ? new URL(script.src).origin : "", pageViews: true };
  var key = null;
  var waiting = {};
  var sending = null;
  var wait = WAIT_AT_FIRST;

  // What outlives the page. A browser that keeps nothing still tracks this page.
  var memory = {};
  function load(name) {
    try {
      var text = root.localStorage.getItem("milepost." + name);
      return text ? JSON.parse(text) : memory[name] || null;
    } catch (error) {
      return memory[name] || null;
    }
  }
  function save(name, value) {
    memory[name] = value;
    try {
      if (value === null) root.localStorage.removeItem("milepost." + name);
      else root.localStorage.setItem("milepost." + name, JSON.stringify(value));
    } catch (error) { /* full, or forbidden */ }
  }

  function uuid() {
    if (root.crypto && root.crypto.randomUUID) return root.crypto.randomUUID();
    var bytes = root.crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    var hex = Array.prototype.map.call(bytes, function (byte) { return (byte + 256).toString(16).slice(1); }).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  function visitor(now) {
    var known = load("visitor");
    if (!known || now - known.seen > VISITOR_IDLE) known = { id: uuid() };
    known.seen = now;
    save("visitor", known);
    return known.id;
  }

  // The person that the page has named, as long as it is active.
  function person(now) {
    var known = load("person");
    if (!known) return null;
    if (now > known.until) {
      leave(now);
      return null;
    }
    known.until = now + known.ttl * 1000;
    save("person", known);
    return known.match;
  }

  // Dates as the standard events of sessions have them.
  function stamp(time) {
    return new Date(time).toISOString();
  }

  function session(now) {
    var known = load("session");
    if (known && now - known.last > SESSION_IDLE) {
      end(known);
      known = null;
    }
    if (!known) {
      known = { id: uuid(), started: now, utm: campaign() };
      known.last = now;
      save("session", known);
      push("sessionStarted", assign({ sessionId: known.id, sessionStart: stamp(now), sessionType: "Web" }, known.utm), now, known.id);
    }
    known.last = now;
    save("session", known);
    return known.id;
  }

  function end(known) {
    var seconds = Math.round((known.last - known.started) / 1000);
    push("sessionEnded", assign({
      sessionId: known.id, sessionEnd: stamp(known.last), sessionLength: seconds, sessionType: "Web"
    }, known.utm), known.last, known.id);
    save("session", null);
  }

  function assign(target, more) {
    Object.keys(more).forEach(function (name) { target[name] = more[name]; });
    return target;
  }

  function campaign() {
    var found = {};
    var params = new URLSearchParams(root.location ? root.location.search : "");
    UTM.forEach(function (name) { if (params.get(name)) found[name] = params.get(name); });
    if (!found.utm_source) found.utm_source = "direct";
    return found;
  }

  function push(definitionId, properties, time, sessionId) {
    var who = load("person");
    var event = {
      eventId: uuid(), definitionId: definitionId, time: time, sessionId: sessionId,
      visitorId: visitor(time), person: who ? who.match : undefined, properties: properties || {}
    };
    var queue = load("queue") || [];
    queue.push(event);
    // The oldest go first when a page is offline for very long.
    save("queue", queue.slice(-QUEUED_AT_MOST));
    return event.eventId;
  }

  function enqueue(definitionId, properties) {
    if (!key) return Promise.reject(new Error("milepost: call init(key) first"));
    if (typeof definitionId !== "string" || !definitionId) {
      return Promise.reject(new Error("milepost: track needs the id of a definition"));
    }
    var now = Date.now();
    person(now);
    var id = push(definitionId, properties, now, session(now));
    return new Promise(function (resolve, reject) {
      waiting[id] = { resolve: resolve, reject: reject };
      flush();
    });
  }

  function body(events) {
    return JSON.stringify({ key: key, sentTime: Date.now(), events: events });
  }

  // Sends what is queued, in order; tries again, ever later, while the server cannot be reached.
  function flush() {
    if (sending || !key) return sending;
    var events = (load("queue") || []).slice(0, SENT_TOGETHER);
    if (!events.length) return null;
    sending = root.fetch(options.url + "/v1/web/events", {
      // A plain text needs no question beforehand whether it may be sent.
      method: "POST", headers: { "Content-Type": "text/plain" }, body: body(events), keepalive: true, credentials: "omit"
    }).then(function (response) {
      if (response.status >= 500 || response.status === 429 || response.status === 408) throw response;
      return response.json().then(function (answer) {
        wait = WAIT_AT_FIRST;
        done(events, response.ok ? answer.events : null, answer.error);
      });
    }).catch(function (problem) {
      var after = problem && problem.headers && Number(problem.headers.get("Retry-After")) * 1000;
      root.setTimeout(flush, after || wait * (0.5 + Math.random() / 2));
      wait = Math.min(wait * 2, WAIT_AT_MOST);
      return true;
    }).then(function (later) {
      sending = null;
      if (!later) flush();
    });
    return sending;
  }

  function done(events, verdicts, error) {
    var ids = {};
    events.forEach(function (event) { ids[event.eventId] = true; });
    save("queue", (load("queue") || []).filter(function (event) { return !ids[event.eventId]; }));
    events.forEach(function (event, at) {
      var told = waiting[event.eventId];
      delete waiting[event.eventId];
      if (!told) return;
      var verdict = verdicts && verdicts[at];
      if (!verdict) return told.reject(new Error("milepost: " + (error ? error.message : "refused")));
      if (verdict.verdict === "refused") return told.reject(new Error("milepost: " + verdict.message));
      told.resolve({ eventId: event.eventId, verdict: verdict.verdict });
    });
  }

  // Says something of the person that is named: what was tracked before has gone out first.
  function about(what) {
    var known = load("person");
    if (!key) return Promise.reject(new Error("milepost: call init(key) first"));
    if (!known) return Promise.reject(new Error("milepost: call setPerson first"));
    var now = Date.now();
    var said = assign({ key: key, visitorId: visitor(now), sessionId: session(now), person: known.match }, what);
    return root.fetch(options.url + "/v1/web/person", {
      method: "POST", headers: { "Content-Type": "text/plain" }, body: JSON.stringify(said), credentials: "omit"
    }).then(function (response) {
      return response.json().then(function (answer) {
        if (!response.ok) throw new Error("milepost: " + (answer.error ? answer.error.message : "refused"));
        return answer;
      });
    });
  }

  function leave() {
    var known = load("session");
    if (known) end(known);
    if (load("person")) {
      save("person", null);
      save("visitor", null);
    }
  }

  function page() {
    var doc = root.document, url = root.location;
    return enqueue("pageView", {
      pageTitle: doc.title, url: url.href.slice(0, 1500), domain: url.hostname, path: url.pathname,
      timestamp: new Date().toISOString(), referrer: doc.referrer || null,
      browserLanguage: root.navigator.language || null, websiteLanguage: doc.documentElement.lang || null
    }).catch(function () { /* nobody asked for it */ });
  }

  var api = {
    init: function (givenKey, given) {
      assign(options, given || {});
      options.url = options.url.replace(/\/$/, "");
      key = givenKey;
      session(Date.now());
      if (options.pageViews) page();
      flush();
    },
    setPerson: function (match, ttl) {
      var names = Object.keys(match || {});
      var known = ["email", "phone", "externalId", "pushRegId"];
      if (names.length !== 1 || known.indexOf(names[0]) < 0) {
        return Promise.reject(new Error("milepost: setPerson needs one of email, phone, externalId, pushRegId"));
      }
      var seconds = ttl || PERSON_TTL;
      save("person", { match: match, ttl: seconds, until: Date.now() + seconds * 1000 });
      // Told at once, and again with each event, for a page that is offline now.
      return key ? about({}).then(function () {}, function (error) {
        if (error instanceof TypeError) return;
        throw error;
      }) : Promise.resolve();
    },
    track: enqueue,
    updatePerson: function (person) {
      return about({ update: person || {} });
    },
    appendToList: function (name, item) {
      return about({ append: { name: name, items: Array.isArray(item) ? item : [item] } });
    },
    forgetPerson: function () {
      leave();
      flush();
      return Promise.resolve();
    }
  };

  // A page that is left sends what it can; the queue keeps it until the server has said that it is stored.
  root.addEventListener("pagehide", function () {
    var events = (load("queue") || []).slice(0, SENT_TOGETHER);
    if (key && events.length && root.navigator.sendBeacon) {
      root.navigator.sendBeacon(options.url + "/v1/web/events", new Blob([body(events)], { type: "text/plain" }));
    }
  });
  root.addEventListener("online", function () { flush(); });

  // What the page has called before this was there.
  var early = root.pe && root.pe.q ? root.pe.q : [];
  root.pe = root.milepost = api;
  early.forEach(function (one) {
    Promise.resolve(api[one[0]].apply(api, one[1])).then(one[2], one[3]);
  });
})(window);
