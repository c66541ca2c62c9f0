"""Countries and their capitals, for the task capital_country.

Source: general knowledge, written down for this project. Members of the United Nations with one capital that is not
disputed, shared with another city or being moved, under their common English names and in plain letters; without
those whose capital bears the country's name (Mexico City, Singapore), where nothing has to be known.
"""

_TABLE = """
Afghanistan: Kabul
Albania: Tirana
Algeria: Algiers
Angola: Luanda
Antigua and Barbuda: Saint John's
Argentina: Buenos Aires
Armenia: Yerevan
Australia: Canberra
Austria: Vienna
Azerbaijan: Baku
Bahamas: Nassau
Bahrain: Manama
Bangladesh: Dhaka
Barbados: Bridgetown
Belarus: Minsk
Belgium: Brussels
Belize: Belmopan
Bhutan: Thimphu
Bosnia and Herzegovina: Sarajevo
Botswana: Gaborone
Brazil: Brasilia
Brunei: Bandar Seri Begawan
Bulgaria: Sofia
Burkina Faso: Ouagadougou
Cambodia: Phnom Penh
Cameroon: Yaounde
Canada: Ottawa
Cape Verde: Praia
Central African Republic: Bangui
Chad: N'Djamena
Chile: Santiago
China: Beijing
Colombia: Bogota
Comoros: Moroni
Costa Rica: San Jose
Croatia: Zagreb
Cuba: Havana
Cyprus: Nicosia
Czechia: Prague
Democratic Republic of the Congo: Kinshasa
Denmark: Copenhagen
Dominica: Roseau
Dominican Republic: Santo Domingo
Ecuador: Quito
Eritrea: Asmara
Estonia: Tallinn
Ethiopia: Addis Ababa
Fiji: Suva
Finland: Helsinki
France: Paris
Gabon: Libreville
Gambia: Banjul
Georgia: Tbilisi
Germany: Berlin
Ghana: Accra
Greece: Athens
Grenada: Saint George's
Guinea: Conakry
Guyana: Georgetown
Haiti: Port-au-Prince
Honduras: Tegucigalpa
Hungary: Budapest
Iceland: Reykjavik
India: New Delhi
Iran: Tehran
Iraq: Baghdad
Ireland: Dublin
Italy: Rome
Jamaica: Kingston
Japan: Tokyo
Jordan: Amman
Kazakhstan: Astana
Kenya: Nairobi
Kyrgyzstan: Bishkek
Laos: Vientiane
Latvia: Riga
Lebanon: Beirut
Lesotho: Maseru
Liberia: Monrovia
Libya: Tripoli
Liechtenstein: Vaduz
Lithuania: Vilnius
Madagascar: Antananarivo
Malawi: Lilongwe
Maldives: Male
Mali: Bamako
Malta: Valletta
Marshall Islands: Majuro
Mauritania: Nouakchott
Mauritius: Port Louis
Micronesia: Palikir
Moldova: Chisinau
Mongolia: Ulaanbaatar
Montenegro: Podgorica
Morocco: Rabat
Mozambique: Maputo
Myanmar: Naypyidaw
Namibia: Windhoek
Nepal: Kathmandu
Netherlands: Amsterdam
New Zealand: Wellington
Nicaragua: Managua
Niger: Niamey
Nigeria: Abuja
North Korea: Pyongyang
North Macedonia: Skopje
Norway: Oslo
Oman: Muscat
Pakistan: Islamabad
Palau: Ngerulmud
Papua New Guinea: Port Moresby
Paraguay: Asuncion
Peru: Lima
Philippines: Manila
Poland: Warsaw
Portugal: Lisbon
Qatar: Doha
Republic of the Congo: Brazzaville
Romania: Bucharest
Russia: Moscow
Rwanda: Kigali
Saint Kitts and Nevis: Basseterre
Saint Lucia: Castries
Saint Vincent and the Grenadines: Kingstown
Samoa: Apia
Saudi Arabia: Riyadh
Senegal: Dakar
Serbia: Belgrade
Seychelles: Victoria
Sierra Leone: Freetown
Slovakia: Bratislava
Slovenia: Ljubljana
Solomon Islands: Honiara
Somalia: Mogadishu
South Korea: Seoul
Spain: Madrid
Sudan: Khartoum
Suriname: Paramaribo
Sweden: Stockholm
Syria: Damascus
Tajikistan: Dushanbe
Thailand: Bangkok
Timor-Leste: Dili
Togo: Lome
Tonga: Nuku'alofa
Trinidad and Tobago: Port of Spain
Tunisia: Tunis
Turkey: Ankara
Turkmenistan: Ashgabat
Tuvalu: Funafuti
Uganda: Kampala
Ukraine: Kyiv
United Arab Emirates: Abu Dhabi
United Kingdom: London
United States: Washington
Uruguay: Montevideo
Uzbekistan: Tashkent
Vanuatu: Port Vila
Venezuela: Caracas
Vietnam: Hanoi
Zambia: Lusaka
Zimbabwe: Harare
"""

CAPITALS = {country: capital for country, _, capital in (line.partition(": ") for line in _TABLE.split("\n") if line)}
"""Country to capital."""

_COMMON = (
    "Austria Belgium Canada Chile China Denmark Finland France Germany Greece Hungary Iran Iraq Ireland Italy "
    "Jamaica Japan Netherlands Norway Philippines Poland Portugal Russia Spain Sweden Syria Thailand"
)
COMMON = tuple(_COMMON.split())
"""Countries that, like their capitals, are one token after a space for the Pythia, GPT-2 and nano tokenizers."""
