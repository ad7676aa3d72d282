{# The release as Salt states. Each server runs all of it by itself; the master only says which ones are next. #}
{% set r = pillar['release'] %}
{% set folder = r['root'] ~ '/' ~ grains['id'] %}

out of traffic:
  cmd.run:
    - name: {{ r['pool'] }} out {{ grains['id'] }} {{ r['admin_port'] }}

unpacked:
  archive.extracted:
    - name: {{ folder }}/app/releases/{{ r['version'] }}
    - source: {{ r['url'] }}
    - source_hash: sha256={{ r['sha256'] }}
    - enforce_toplevel: false
    - if_missing: {{ folder }}/app/releases/{{ r['version'] }}/VERSION
    - keep_source: false
    - require:
      - cmd: out of traffic

switched, and started anew:
  cmd.run:
    - name: |
        set -e
        {{ r['control'] }} stop {{ folder }}
        ln -sfn releases/{{ r['version'] }} {{ folder }}/app/current.new
        mv -T {{ folder }}/app/current.new {{ folder }}/app/current
        {{ r['control'] }} start {{ folder }}
        {{ r['control'] }} health {{ folder }} {{ r['version'] }}
    - timeout: 60
    - require:
      - archive: unpacked

in traffic:
  cmd.run:
    - name: {{ r['pool'] }} in {{ grains['id'] }} {{ r['admin_port'] }}
    - require:
      - cmd: switched, and started anew
